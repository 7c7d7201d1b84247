"""Which series a map belongs to: across restarts of programs and hosts, pins that come, numbers that are given again."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import update

from app.history.tables import Series
from app.history.writer import Writer
from app.timeline.naming import LiveMap, assign, title

HASH = 1
SECOND_NS = 1_000_000_000


def one(number: int, name: str = "flows", pin: str = "", owner: str = "xdp_lb", kind: int = HASH) -> LiveMap:
    return LiveMap(number, name, kind, pin, owner)


def ids(writer: Writer, *maps: LiveMap, boot: str = "boot-1", at: int = 1, host: str = "here") -> dict[int, int]:
    return {map_id: each.id for map_id, each in assign(writer, host, boot, maps, at * SECOND_NS).items()}


def test_a_successor_goes_on_with_the_series_of_its_predecessor(writer: Writer) -> None:
    before = ids(writer, one(7))
    assert ids(writer, one(9), at=2)[9] == before[7]
    assert ids(writer, one(3), boot="boot-2", at=3)[3] == before[7]
    facts = writer.one_series(before[7])
    assert (facts.map_id, facts.boot_id) == (3, "boot-2")
    assert (facts.first_seen_ns, facts.last_seen_ns) == (SECOND_NS, 3 * SECOND_NS)


def test_an_id_that_is_given_again_does_not_make_it_the_same_map(writer: Writer) -> None:
    before = ids(writer, one(7))
    assert ids(writer, one(7, name="other"))[7] != before[7]
    assert ids(writer, one(7, owner="somebody_else"), boot="boot-2")[7] != before[7]
    assert ids(writer, one(7, kind=2))[7] != before[7]


def test_two_hosts_have_two_series(writer: Writer) -> None:
    assert ids(writer, one(7))[7] != ids(writer, one(7), host="there")[7]


def test_a_map_stays_where_it_is_when_its_owner_goes_away(writer: Writer) -> None:
    before = ids(writer, one(7))
    assert ids(writer, one(7, owner=""), at=2) == before


def test_a_pin_names_a_map_whatever_else_is_said(writer: Writer) -> None:
    before = ids(writer, one(7, pin="/sys/fs/bpf/lb/flows"))
    assert ids(writer, one(9, pin="/sys/fs/bpf/lb/flows", owner="new_loader"), boot="boot-2")[9] == before[7]
    assert ids(writer, one(9, pin="/sys/fs/bpf/other/flows"), boot="boot-3")[9] != before[7]


def test_a_map_that_is_pinned_later_takes_its_history_along(writer: Writer) -> None:
    before = ids(writer, one(7))
    assert ids(writer, one(7, pin="/sys/fs/bpf/flows"), at=2) == before
    assert ids(writer, one(12, pin="/sys/fs/bpf/flows"), boot="boot-2", at=3)[12] == before[7]


def test_maps_of_one_name_are_told_apart_while_both_live(writer: Writer) -> None:
    before = ids(writer, one(7), one(8))
    assert len(set(before.values())) == 2
    # The first goes away: the second stays itself.
    assert ids(writer, one(8), at=2)[8] == before[8]
    # After a restart of both the order of their making tells which is which.
    assert ids(writer, one(20), one(21), at=3) == {20: before[7], 21: before[8]}


def test_a_title_says_what_tells_it_apart(writer: Writer) -> None:
    assigned = assign(writer, "here", "boot", [one(7), one(8), one(9, pin="/sys/fs/bpf/x")], SECOND_NS)
    assert [title(assigned[number].of) for number in (7, 8, 9)] == [
        "flows (hash, xdp_lb)",
        "flows (hash, xdp_lb) #2",
        "/sys/fs/bpf/x",
    ]


def test_a_map_whose_series_is_damaged_begins_another_beside_it_and_stays_there(writer: Writer) -> None:
    before = ids(writer, one(7), one(8), one(9, name="other"))
    with writer.database.writing() as connection:
        connection.execute(update(Series).where(Series.id == before[7]).values(last_seen_ns=4711))
    after = ids(writer, one(7), one(8), one(9, name="other"), at=2)
    assert after[7] not in before.values()
    assert (after[8], after[9]) == (before[8], before[9])
    assert ids(writer, one(7), one(8), one(9, name="other"), at=3) == after
    assert ids(writer, one(17), boot="boot-2", at=4)[17] in {after[7], after[8]}


def test_a_map_that_is_pinned_where_a_damaged_series_was_begins_another_beside_it(writer: Writer) -> None:
    pin = "/sys/fs/bpf/flows"
    before = ids(writer, one(7, pin=pin), one(8, name="other"))
    with writer.database.writing() as connection:
        connection.execute(update(Series).where(Series.id == before[7]).values(last_seen_ns=4711))
    ids(writer, one(9), one(8, name="other"), at=2)
    after = ids(writer, one(9, pin=pin), one(8, name="other"), at=3)
    assert after[9] != before[7]
    assert after[8] == before[8]
    assert ids(writer, one(9, pin=pin), one(8, name="other"), at=4) == after


def test_a_pin_that_goes_to_a_successor_takes_its_history_there_though_the_old_map_lives(writer: Writer) -> None:
    pin = "/sys/fs/bpf/flows"
    before = ids(writer, one(7, pin=pin))
    # Its loader has taken the pin away: until another map has it, the map is where it was.
    assert ids(writer, one(7), at=2) == before
    both = ids(writer, one(7), one(8, pin=pin), at=3)
    assert both[8] == before[7]
    assert both[7] != before[7]
    assert (writer.one_series(both[8]).map_id, writer.one_series(both[7]).map_id) == (8, 7)
    assert ids(writer, one(7), one(8, pin=pin), at=4) == both
    assert ids(writer, one(8, pin=pin), at=5) == {8: both[8]}


def test_the_map_that_a_pin_names_comes_first_whichever_is_older(writer: Writer) -> None:
    pin = "/sys/fs/bpf/flows"
    before = ids(writer, one(7), one(8, pin=pin))
    swapped = ids(writer, one(7, pin=pin), one(8), at=2)
    assert swapped == {7: before[8], 8: before[7]}


def test_a_map_whose_pin_moves_is_known_by_its_number_in_one_series_alone(writer: Writer) -> None:
    before = ids(writer, one(7, pin="/sys/fs/bpf/a"))
    after = ids(writer, one(7, pin="/sys/fs/bpf/b"), at=2)
    assert after[7] != before[7]
    left, now = writer.one_series(before[7]), writer.one_series(after[7])
    assert (left.map_id, left.boot_id) == (0, "")
    assert (now.map_id, now.boot_id) == (7, "boot-1")
    # Nothing is left behind where it moves back, either.
    assert ids(writer, one(7, pin="/sys/fs/bpf/a"), at=3) == before
    assert writer.one_series(after[7]).map_id == 0


def test_a_map_is_not_named_for_good_by_the_loader_that_makes_it(writer: Writer) -> None:
    before = ids(writer, one(7))
    ids(writer, one(9, owner="loader"), at=30)  # listed before its program was loaded
    assert ids(writer, one(9), at=40)[9] == before[7]
    first = ids(writer, one(9), one(11, name="ct", owner="loader"), at=50)
    assert ids(writer, one(9), one(11, name="ct"), at=60) == first
    assert ids(writer, one(9), one(12, name="ct"), at=70)[12] == first[11]


def test_a_map_that_is_set_up_takes_no_series_of_another_that_lives(writer: Writer) -> None:
    before = ids(writer, one(9, owner="loader"), one(7))
    assert ids(writer, one(9), one(7), at=2) == before


def test_a_title_says_which_of_several_a_pin_named(writer: Writer) -> None:
    of = assign(writer, "here", "boot", [one(9, pin="/sys/fs/bpf/x")], SECOND_NS)[9].of
    assert title(replace(of, ordinal=1)) == "/sys/fs/bpf/x #2"
