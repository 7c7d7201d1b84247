"""Who may edit: roles, write sessions, the policy's rules and numbers, two people; and plans of many edits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.broker.peers import Asker, Peer
from app.broker.requests import BY_VERB
from app.uapi.syscall import map_delete, map_lookup, map_update
from app.wire import bodies
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.edits import Change, Edit, PlanFacts, Report
from app.wire.errors import BadField, EditsOff, NeedsWriteSession, NotAllowed, SessionOver, Taken, TooFast
from app.wire.verbs import Verb
from tests.broker.editing import ROOT, WHY, Bench, bench, value_of
from tests.broker.swapping import KEY, typed_map

pytestmark = pytest.mark.kernel

PASSWORD = "correct horse battery"
C = "struct v { unsigned long long count; unsigned int limit; unsigned short port; };"
TO_7 = Change("value.limit", 64, 32, new=7, expected=0)


class WebTransport:
    """Asks as the web's account does: the same table, by uid alone."""

    def __init__(self, desk: Bench) -> None:
        self._host = desk.host

    def ask(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        reply = BY_VERB[int(verb)].reply(self._host, question, Asker(Peer.WEB, 58470, 1))
        return reply.body, reply.descriptor

    def close(self) -> None:
        pass


@dataclass
class Person:
    """Somebody who signed in over the web."""

    client: Client
    credential: Credential

    def elevate(self) -> None:
        elevated = self.client.elevate(self.credential, PASSWORD)
        self.credential = Credential(elevated.value, elevated.write, "127.0.0.1")

    def edit(self, desk: Bench, map_fd: int, *changes: Change, dry_run: bool = False) -> Report:
        edit = Edit(desk.identity(map_fd), "set", key=KEY, changes=changes or (TO_7,))
        return self.client.edit(self.credential, edit, WHY, dry_run=dry_run)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "data") as made:
        yield made


@pytest.fixture
def map_fd() -> Iterator[int]:
    with typed_map(C) as fd:
        map_update(fd, KEY, bytes(16))
        yield fd


@pytest.fixture
def person(desk: Bench) -> Callable[..., Person]:
    def sign_in(role: str, name: str = "") -> Person:
        name = name or role
        desk.client.user_add(ROOT, name, role, PASSWORD)
        client = Client(WebTransport(desk))
        entered = client.sign_in(name, PASSWORD, source="127.0.0.1", agent="test")
        return Person(client, Credential(entered.value, "", "127.0.0.1"))

    return sign_in


def policy(desk: Bench, text: str) -> None:
    desk.settings.data.mkdir(exist_ok=True)
    (desk.settings.data / "policy.toml").write_text("version = 1\n" + text)


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_readers_do_not_edit(desk: Bench, map_fd: int, person: Callable[..., Person], role: str) -> None:
    somebody = person(role)
    with pytest.raises(NotAllowed, match="only editors and admins edit"):
        somebody.edit(desk, map_fd)
    with pytest.raises(NotAllowed):
        somebody.edit(desk, map_fd, dry_run=True)
    assert value_of(map_fd, KEY, 16) == bytes(16)
    assert {each.actor.user for each in desk.records("edit.refused")} == {role}


@pytest.mark.parametrize("role", ["editor", "admin"])
def test_an_editor_previews_at_once_and_writes_in_a_write_session_alone(
    desk: Bench, map_fd: int, person: Callable[..., Person], role: str
) -> None:
    somebody = person(role)
    assert somebody.edit(desk, map_fd, dry_run=True).result == "planned"
    with pytest.raises(NeedsWriteSession):
        somebody.edit(desk, map_fd)
    assert value_of(map_fd, KEY, 16) == bytes(16)
    somebody.elevate()
    assert somebody.edit(desk, map_fd).result == "done"
    (record,) = desk.records("map.set.ok")
    assert (record.actor.user, record.actor.role, record.actor.how) == (role, role, "password")
    somebody.client.drop(somebody.credential)
    with pytest.raises(NeedsWriteSession):
        somebody.edit(desk, map_fd)


def test_t10_the_web_cannot_invent_somebody(desk: Bench, map_fd: int, person: Callable[..., Person]) -> None:
    editor, other = person("editor"), person("editor", "other")
    editor.elevate()
    edit = Edit(desk.identity(map_fd), "set", key=KEY, changes=(TO_7,))
    forged = [
        (Credential(), SessionOver),
        (Credential("x" * 43, "x" * 43), SessionOver),
        (Credential(editor.credential.session, ""), NeedsWriteSession),
        (Credential(editor.credential.session, "x" * 43), NeedsWriteSession),
        (Credential(other.credential.session, editor.credential.write), NeedsWriteSession),
        (Credential(editor.credential.write, editor.credential.write), SessionOver),
    ]
    for credential, error in forged:
        with pytest.raises(error):
            editor.client.edit(credential, edit, WHY, dry_run=False)
    assert value_of(map_fd, KEY, 16) == bytes(16)
    refused = desk.records("edit.refused")
    assert len(refused) == len(forged)
    assert {each.actor.uid for each in refused} == {58470}


def test_tokens_of_scope_edit_write_and_those_to_read_do_not(
    desk: Bench, map_fd: int, person: Callable[..., Person]
) -> None:
    editor = person("editor")
    for scope, error in (("read", NeedsWriteSession), ("edit", None)):
        made = desk.client.token_make(ROOT, user="editor", label="script", scope=scope, days=1)
        caller = Person(editor.client, Credential(made.value, "", "127.0.0.1"))
        if error is None:
            assert caller.edit(desk, map_fd).result == "done"
        else:
            with pytest.raises((error, NotAllowed)):
                caller.edit(desk, map_fd)
    desk.client.token_revoke(ROOT, made.token.id)
    with pytest.raises(SessionOver):
        caller.edit(desk, map_fd)


def test_a_rule_names_map_field_and_role(desk: Bench, map_fd: int, person: Callable[..., Person]) -> None:
    policy(
        desk,
        '[[rule]]\nmaps = ["atlas_*"]\nfields = ["value.limit"]\nactions = ["set"]\nmax = 100\n'
        '[[rule]]\nfields = ["value.port"]\nactions = ["set"]\nrole = "admin"\n',
    )
    editor, admin = person("editor"), person("admin")
    editor.elevate()
    admin.elevate()
    port = Change("value.port", 96, 16, new=1, expected=0)
    with pytest.raises(NotAllowed, match="role admin"):
        editor.edit(desk, map_fd, port)
    assert admin.edit(desk, map_fd, port).result == "done"
    with pytest.raises(NotAllowed, match="no rule"):
        admin.edit(desk, map_fd, Change("value.count", 0, 64, new=1, expected=0))
    with pytest.raises(BadField, match="above 100") as error:
        editor.edit(desk, map_fd, Change("value.limit", 64, 32, new=101, expected=0))
    assert error.value.field == "value.limit"
    with pytest.raises(BadField, match="bounds"):
        editor.edit(desk, map_fd, Change("value.limit", 64, 32, operation="add", new=1))
    assert editor.edit(desk, map_fd, Change("value.limit", 64, 32, new=100, expected=0)).result == "done"
    with pytest.raises(NotAllowed):
        desk.client.edit(
            admin.credential, Edit(desk.identity(map_fd), "replace", key=KEY, value=bytes(16)), WHY, dry_run=False
        )


def test_numbers_of_network_order_types_are_bounded_as_people_read_them(desk: Bench) -> None:
    policy(desk, '[[rule]]\nfields = ["value.port"]\nactions = ["set"]\nmin = 1024\n')
    with typed_map("typedef unsigned short __be16; struct v { unsigned int a; __be16 port; };") as fd:
        map_update(fd, KEY, bytes(8))
        low = Change("value.port", 32, 16, new=int.from_bytes((443).to_bytes(2, "big"), "little"), expected=0)
        with pytest.raises(BadField, match="443 is below 1024"):
            desk.set(fd, KEY, low)
        high = Change("value.port", 32, 16, new=int.from_bytes((8443).to_bytes(2, "big"), "little"), expected=0)
        assert desk.set(fd, KEY, high).result == "done"


def test_so_many_edits_a_minute(desk: Bench, map_fd: int) -> None:
    policy(desk, "[[rule]]\nper_minute = 3\n")
    for number in range(3):
        assert desk.set(map_fd, KEY, Change("value.limit", 64, 32, new=number + 1, expected=number)).result == "done"
    with pytest.raises(TooFast) as error:
        desk.set(map_fd, KEY, Change("value.limit", 64, 32, new=9, expected=3))
    assert 0 < error.value.retry_s <= 60
    assert value_of(map_fd, KEY, 16) == bytes(8) + b"\3" + bytes(7)


def test_an_error_in_the_policy_means_reading_only_and_names_its_line(desk: Bench, map_fd: int) -> None:
    policy(desk, '[[rule]]\nrole = "wizard"\n')
    with pytest.raises(EditsOff, match=r"policy\.toml line 3"):
        desk.set(map_fd, KEY, TO_7)
    assert value_of(map_fd, KEY, 16) == bytes(16)
    policy(desk, "[[rule]]\n")
    assert desk.set(map_fd, KEY, TO_7).result == "done"


def test_two_people(desk: Bench, map_fd: int, person: Callable[..., Person]) -> None:
    policy(desk, "[[rule]]\napprovals = 1\n")
    asks, agrees = person("editor", "asks"), person("editor", "agrees")
    asks.elevate()
    report = asks.edit(desk, map_fd)
    assert (report.result, report.approvals) == ("pending", 1)
    assert value_of(map_fd, KEY, 16) == bytes(16)
    with pytest.raises(Taken, match="cannot agree to it"):
        asks.client.plan_step(asks.credential, report.plan, "approve")
    with pytest.raises(Taken):
        asks.client.plan_step(asks.credential, report.plan, "start")
    with pytest.raises(NeedsWriteSession):
        agrees.client.plan_step(agrees.credential, report.plan, "approve")
    agrees.elevate()
    agrees.client.plan_step(agrees.credential, report.plan, "approve")
    assert settled(desk, report.plan).state == "done"
    assert value_of(map_fd, KEY, 16) == bytes(8) + b"\7" + bytes(7)
    (record,) = desk.records("map.set.ok")
    assert (record.actor.user, record.actor.approved_by, record.plan) == ("agrees", "agrees", report.plan)


def test_redacted_values_stay_out_of_the_log_and_cannot_be_taken_back(desk: Bench, map_fd: int) -> None:
    policy(desk, '[[rule]]\n[[redact]]\nfields = ["value.limit"]\naudit = true\n')
    report = desk.set(map_fd, KEY, Change("value.limit", 64, 32, new=0x5EC12E7, expected=0, new_text="99123943"))
    assert report.result == "done"
    for record in desk.records("map."):
        assert record.fields[0].redacted
        assert (record.fields[0].old, record.fields[0].new, record.old_value) == (None, None, None)
        assert "99123943" not in str(record)
    with pytest.raises(NotAllowed, match="keeps its values out of the log"):
        desk.undo(report)


def settled(desk: Bench, plan: int, within_s: float = 10.0) -> PlanFacts:
    """The plan once it does not run any more."""
    end_s = time.monotonic() + within_s
    while True:
        facts = desk.client.plan(ROOT, plan).facts
        if facts.state != "running" or time.monotonic() > end_s:
            return facts
        time.sleep(0.02)


def rows_of(desk: Bench, fd: int, count: int) -> tuple[Edit, ...]:
    identity = desk.identity(fd)
    return tuple(
        Edit(identity, "create", key=number.to_bytes(4, "little"), value=bytes([number % 256]) * 8)
        for number in range(count)
    )


def a_plan(desk: Bench, fd: int, rows: tuple[Edit, ...]) -> int:
    facts = desk.client.plan_make(ROOT, desk.identity(fd), label="block list", reason=WHY)
    for at in range(0, len(rows), 100):
        facts = desk.client.plan_rows(ROOT, facts.id, rows[at : at + 100])
    assert (facts.state, facts.rows) == ("draft", len(rows))
    return facts.id


def test_a_plan_is_checked_applied_and_every_row_is_on_record(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(max_entries=600)
    plan = a_plan(desk, fd, rows_of(desk, fd, 500))
    facts = desk.client.plan_step(ROOT, plan, "check")
    assert "all 500 rows can be written" in facts.sentence
    assert not map_lookup(fd, bytes(4), bytearray(8))
    facts = desk.client.plan_step(ROOT, plan, "start")
    assert (facts.state, facts.done, facts.failed) == ("done", 500, 0)
    assert value_of(fd, (255).to_bytes(4, "little"), 8) == b"\xff" * 8
    rows = desk.client.plan(ROOT, plan, first=499, limit=10).rows
    assert [(row.number, row.state) for row in rows] == [(499, "done"), (500, "done")]
    assert desk.client.undo(ROOT, rows[1].audit, WHY, dry_run=False).result == "done"
    assert {each.plan for each in desk.records("map.create.ok")} == {plan}


def test_a_plan_stops_at_the_first_error_and_goes_on_from_there(desk: Bench, make_map: Callable[..., int]) -> None:
    fd = make_map(max_entries=600)
    in_the_way = (50).to_bytes(4, "little")
    map_update(fd, in_the_way, bytes(8))
    plan = a_plan(desk, fd, rows_of(desk, fd, 100))
    assert "1 of 100 rows need a look" in desk.client.plan_step(ROOT, plan, "check").sentence
    facts = desk.client.plan_step(ROOT, plan, "start")
    assert (facts.state, facts.done, facts.failed) == ("stopped", 50, 1)
    assert "Stopped at row 51" in facts.sentence
    assert not map_lookup(fd, (51).to_bytes(4, "little"), bytearray(8))
    map_delete(fd, in_the_way)
    facts = desk.client.plan_step(ROOT, plan, "start")
    assert (facts.state, facts.done, facts.failed) == ("done", 100, 0)
    with pytest.raises(Taken):
        desk.client.plan_step(ROOT, plan, "start")


def test_plans_have_limits_and_owners(desk: Bench, make_map: Callable[..., int], person: Callable[..., Person]) -> None:
    fd, other_fd = make_map(), make_map()
    editor, other = person("editor"), person("editor", "other")
    facts = editor.client.plan_make(editor.credential, desk.identity(fd), label="x", reason=WHY)
    with pytest.raises(BadField, match="one map"):
        editor.client.plan_rows(editor.credential, facts.id, rows_of(desk, other_fd, 1))
    with pytest.raises(NotAllowed, match="editor's"):
        other.client.plan_rows(other.credential, facts.id, rows_of(desk, fd, 1))
    for _ in range(10):
        editor.client.plan_rows(editor.credential, facts.id, rows_of(desk, fd, 100))
    with pytest.raises(BadField, match="at most 1000 rows"):
        editor.client.plan_rows(editor.credential, facts.id, rows_of(desk, fd, 1))
    with pytest.raises(NeedsWriteSession):
        editor.client.plan_step(editor.credential, facts.id, "start")
    assert editor.client.plan_step(editor.credential, facts.id, "cancel").state == "cancelled"
    with pytest.raises(Taken):
        editor.client.plan_rows(editor.credential, facts.id, rows_of(desk, fd, 1))


def test_t33_a_write_session_that_ends_stops_the_plan_that_it_began(
    desk: Bench, make_map: Callable[..., int], person: Callable[..., Person]
) -> None:
    fd = make_map(max_entries=2000)
    editor = person("editor")
    editor.elevate()
    facts = editor.client.plan_make(editor.credential, desk.identity(fd), label="x", reason=WHY)
    for at in range(0, 1000, 100):
        editor.client.plan_rows(editor.credential, facts.id, rows_of(desk, fd, 1000)[at : at + 100])
    editor.client.plan_step(editor.credential, facts.id, "start")
    while desk.client.plan(ROOT, facts.id).facts.done < 20:
        time.sleep(0.005)
    editor.client.drop(editor.credential)
    found = settled(desk, facts.id)
    assert found.state == "stopped"
    assert 20 <= found.done < 1000
    assert "until its password is given again" in found.sentence
    held = sum(map_lookup(fd, number.to_bytes(4, "little"), bytearray(8)) for number in range(1000))
    assert held == found.done
    elevated = editor.client.elevate(Credential(editor.credential.session, ""), PASSWORD)
    again = Credential(elevated.value, elevated.write)
    editor.client.plan_step(again, facts.id, "start")
    editor.client.plan_step(again, facts.id, "stop")
    assert settled(desk, facts.id).state in {"stopped", "done"}


def test_may_says_what_stands_in_the_way(desk: Bench, map_fd: int, person: Callable[..., Person]) -> None:
    policy(desk, '[[rule]]\nfields = ["value.limit"]\nactions = ["set"]\n')
    map_id = desk.identity(map_fd).id
    for role, could in (("viewer", False), ("auditor", False), ("editor", True), ("admin", True)):
        somebody = person(role)
        may = somebody.client.may(somebody.credential, map_id)
        assert may.edits
        acts = {each.action: each for each in may.actions}
        assert acts["set"].allowed is could
        assert not acts["delete"].allowed
        assert bool(acts["set"].reason) is not could
        assert acts["push"].possible is False
        assert may.write_until_s == 0
