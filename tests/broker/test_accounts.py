"""Users, sessions, write sessions, tokens and links, asked of as over the socket."""

from __future__ import annotations

import itertools
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.broker.accounts.actor import FOREVER, ROLES
from app.broker.database import StoreUnusable
from app.broker.peers import Asker, Peer
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.errors import (
    BadField,
    CannotRecord,
    Declined,
    NeedsWriteSession,
    NotAllowed,
    NotThere,
    SessionOver,
    SignInFailed,
    Taken,
    TooFast,
)
from tests.broker.peopling import PASSWORD, ROOT, WEB, People

APP = Path(__file__).parents[2] / "app"
DAY_S = 24 * 3600


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    made = People(tmp_path)
    yield made
    made.host.close()


# ---- who asks --------------------------------------------------------------------------------------------------------


def test_the_hosts_root_needs_no_session_and_nobody_else_goes_without(people: People) -> None:
    accounts = people.host.desk.accounts
    actor = accounts.writing(ROOT, Credential(source="cli"))
    assert (actor.user, actor.role, actor.how, actor.write_until_s, actor.is_root) == (
        "root",
        "admin",
        "root",
        FOREVER,
        True,
    )
    for peer in (Peer.WEB, Peer.RECORDER):
        with pytest.raises(SessionOver):
            accounts.authorise(Asker(peer, 58470, 1), Credential())
    for forged in ("x", "bpa_x", "\0", "é" * 100):
        for asker in (ROOT, WEB):
            with pytest.raises(SessionOver):
                accounts.authorise(asker, Credential(session=forged))


def test_a_session_reads_and_an_elevated_one_writes(people: People) -> None:
    people.add("alice", "editor")
    accounts = people.host.desk.accounts
    entered = people.enter("alice")
    reading = Credential(entered.value)
    assert accounts.authorise(WEB, reading).user == "alice"
    for write in ("", "x", entered.value):
        with pytest.raises(NeedsWriteSession):
            accounts.writing(WEB, Credential(entered.value, write))
    elevated = people.web.elevate(reading, PASSWORD)
    actor = accounts.writing(WEB, Credential(elevated.value, elevated.write, "203.0.113.1", "r"))
    assert (actor.user, actor.role, actor.session, actor.source, actor.request_id) == ("alice", "editor", entered.session.id, "203.0.113.1", "r")  # fmt: skip
    assert (actor.uid, actor.pid, actor.is_root) == (WEB.uid, WEB.pid, False)
    with pytest.raises(NeedsWriteSession):
        accounts.writing(WEB, Credential(elevated.value, "x"))
    people.web.drop(Credential(elevated.value, elevated.write))
    with pytest.raises(NeedsWriteSession):
        accounts.writing(WEB, Credential(elevated.value, elevated.write))


@pytest.mark.parametrize("role", ROLES)
def test_each_role_elevates_or_not(people: People, role: str) -> None:
    people.add("them", role)
    credential = Credential(people.enter("them").value)
    if role in {"editor", "admin"}:
        assert people.web.elevate(credential, PASSWORD).session.write_until_s > time.time()
    else:
        with pytest.raises(NotAllowed):
            people.web.elevate(credential, PASSWORD)


def test_must_be_says_what_it_takes(people: People) -> None:
    people.add("them", "auditor")
    accounts = people.host.desk.accounts
    actor = accounts.authorise(WEB, Credential(people.enter("them").value))
    accounts.must_be(actor, {"auditor", "admin"})
    with pytest.raises(NotAllowed, match="them is an auditor; this takes admin or editor"):
        accounts.must_be(actor, {"editor", "admin"})


# ---- T6 --------------------------------------------------------------------------------------------------------------


def test_t06_password_guessing_is_throttled(people: People) -> None:
    people.add("alice", "editor")
    outcomes: list[type[Declined]] = []
    waits: list[int] = []
    for number in range(20):
        try:
            people.enter("alice", f"wrong horse {number}", source="198.51.100.66")
        except (SignInFailed, TooFast) as refusal:
            outcomes.append(type(refusal))
            waits += [refusal.retry_s] if isinstance(refusal, TooFast) else []
    assert outcomes[:5] == [SignInFailed] * 5
    assert outcomes[-1] is TooFast
    assert min(waits) >= 1
    assert len(outcomes) == 20
    # Also with the right password, and also where it was guessed.
    with pytest.raises(TooFast):
        people.enter("alice", source="198.51.100.66")
    assert people.enter("alice", source="203.0.113.1").session.user == "alice"
    refused = people.records("session.refused")
    assert refused
    assert {each.actor.source for each in refused} == {"198.51.100.66"}
    assert {each.actor.user for each in refused} == {"alice"}


def test_t06_many_at_once_are_no_way_around(people: People) -> None:
    from concurrent.futures import ThreadPoolExecutor

    people.add("alice", "editor")

    def guess(number: int) -> type[Declined]:
        try:
            people.enter("alice", f"wrong horse {number}")
        except Declined as refusal:
            return type(refusal)
        pytest.fail("a wrong password was let in")

    with ThreadPoolExecutor(30) as pool:
        outcomes = list(pool.map(guess, range(30)))
    assert outcomes.count(SignInFailed) <= 6


def test_t06_an_unknown_name_takes_as_long_as_a_wrong_password(people: People) -> None:
    people.add("alice", "editor")
    people.add("linked", "editor", None)
    accounts = people.host.desk.accounts

    def spent(name: str) -> float:
        accounts.throttle.__init__()  # type: ignore[misc]
        began = time.process_time_ns()
        with pytest.raises(SignInFailed):
            accounts.check_password(name, "wrong horse", "203.0.113.1")
        return time.process_time_ns() - began  # of all of the hash's threads

    for name in ("alice", "nobody", "linked"):
        spent(name)
    rounds = [[spent(name) for name in ("alice", "nobody", "linked")] for _ in range(9)]
    known, unknown, linked = (sorted(times)[4] for times in zip(*rounds, strict=True))
    assert abs(unknown - known) / known < 0.10
    assert abs(linked - known) / known < 0.10


def test_t06_a_password_in_the_box_for_the_name_is_not_kept(people: People) -> None:
    with pytest.raises(SignInFailed):
        people.enter("My secret 9", "")
    (record,) = people.records("session.refused")
    assert record.actor.user == ""
    assert "secret" not in repr(record)


# ---- T7 --------------------------------------------------------------------------------------------------------------


def test_t07_an_old_value_is_worth_nothing(people: People) -> None:
    people.add("alice", "admin")
    values = []

    def lives(value: str) -> bool:
        return people.web.session(value).session is not None

    first = people.enter("alice")
    second = people.enter("alice")
    assert first.value != second.value
    values.append(first.value)
    people.web.sign_out(Credential(first.value))
    elevated = people.web.elevate(Credential(second.value), PASSWORD)
    values.append(second.value)
    again = people.web.elevate(Credential(elevated.value), PASSWORD)
    values.append(elevated.value)
    with pytest.raises(NeedsWriteSession):
        people.host.desk.accounts.writing(WEB, Credential(again.value, elevated.write))
    people.web.password(Credential(again.value), "alice", old=PASSWORD, new="another horse 43")
    values.append(again.value)
    assert [lives(value) for value in values] == [False] * 4
    assert people.web.session(again.value).why == "its user's password was changed"
    assert people.web.session(second.value).why == ""


def test_t07_the_database_holds_no_value_that_opens_anything(people: People, tmp_path: Path) -> None:
    people.add("alice", "admin")
    elevated, credential = people.elevated("alice")
    token = people.web.token_make(credential, label="x", scope="edit", days=1)
    link = people.root.link_make("alice")
    secrets = [elevated.value, elevated.write, token.value, link.value, PASSWORD]
    path = tmp_path / "broker" / "accounts.db"
    dump = "\n".join(sqlite3.connect(path).iterdump())
    everything = dump.encode() + b"".join(each.read_bytes() for each in path.parent.iterdir() if each.is_file())
    for secret in secrets:
        assert len(secret) >= 43 or secret == PASSWORD  # 256 bits in base64
        assert secret.encode() not in everything
    for column in re.findall(r"X'([0-9A-F]+)'", dump):
        assert people.web.session(column.lower()).session is None
        assert people.web.session(bytes.fromhex(column).decode("latin-1")).session is None
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in dump


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda root, here: root.user_role(here, "alice", "viewer"), "its user was given another role", id="role"),
        pytest.param(lambda root, here: root.password(here, "alice", new="another horse 43"), "its user's password was changed", id="password"),
        pytest.param(lambda root, here: root.user_remove(here, "alice"), "", id="removal"),
        pytest.param(lambda root, here: root.session_end(here, root.sessions(here)[0].id), "root ended it", id="revoked"),
    ],
)  # fmt: skip
def test_t07_sessions_end_with_what_they_stood_on(
    people: People, change: Callable[[Client, Credential], None], why: str
) -> None:
    people.add("alice", "editor")
    _, credential = people.elevated("alice")
    change(people.root, people.here)
    found = people.web.session(credential.session)
    assert (found.session, found.why) == (None, why)
    with pytest.raises(SessionOver):
        people.host.desk.accounts.writing(WEB, credential)


def test_t07_absolute_and_idle_expiry(people: People) -> None:
    people.add("alice", "editor")
    entered = people.enter("alice")
    began = entered.session.began_at_s
    assert entered.session.ends_at_s - began == 12 * 3600
    minute = 0
    for minute in range(0, 12 * 60, 20):
        people.turn_clock(began + minute * 60)
        assert people.web.session(entered.value).session is not None, minute
    people.turn_clock(began + 12 * 3600)
    assert people.web.session(entered.value).why == "it began 12 hours ago"
    other = people.enter("alice")
    people.turn_clock(began + 12 * 3600 + 30 * 60)
    assert people.web.session(other.value).why == "it was not used for 30 minutes"


def test_t07_values_are_random(people: People) -> None:
    people.add("alice", "viewer")
    values = {people.enter("alice").value for _ in range(5)}
    assert len(values) == 5
    assert {len(value) for value in values} == {43}


# ---- T8 --------------------------------------------------------------------------------------------------------------


def test_t08_nothing_of_ours_turns_bytes_into_code() -> None:
    unwanted = re.compile(
        r"\b(?:import pickle|pickle\.loads?|marshal\.loads?|shelve\.|yaml\.(?:unsafe_)?load\b|dill\.|jsonpickle|(?<![.\w])eval\(|(?<![.\w])exec\()"
    )
    files = [*APP.rglob("*.py"), *(APP.parent / "demo").rglob("*.py")]
    assert len(files) > 100
    assert [str(path) for path in files if unwanted.search(path.read_text())] == []
    assert unwanted.search("x = pickle.loads(y)")
    assert unwanted.search("x = eval(y)")


# ---- T29, T33 --------------------------------------------------------------------------------------------------------


def test_t29_asking_by_itself_keeps_no_session_alive(people: People) -> None:
    people.add("alice", "editor")
    elevated, credential = people.elevated("alice")
    began = elevated.session.began_at_s
    accounts = people.host.desk.accounts
    for minute in range(0, 30, 2):
        people.turn_clock(began + minute * 60)
        assert people.web.session(credential.session, passive=True).session is not None
        # What a page asks for on the way is no use of the session either.
        assert accounts.authorise(WEB, credential).user == "alice"
        people.web.sessions(credential)
    people.turn_clock(began + 30 * 60)
    assert people.web.session(credential.session, passive=True).session is None
    with pytest.raises(SessionOver):
        accounts.authorise(WEB, credential)


def test_t29_use_is_written_once_a_minute_and_counts_at_once(people: People) -> None:
    people.add("alice", "editor")
    entered = people.enter("alice")
    began = entered.session.began_at_s
    database = people.host.desk.accounts._database

    def written() -> int:
        with database.reading() as connection:
            return int(connection.execute("SELECT seen_at_s FROM sessions").fetchone()[0]) - began

    for second, expected in ((10, 0), (59, 0), (60, 60), (100, 60), (119, 60), (120, 120), (170, 120)):
        people.turn_clock(began + second)
        people.web.session(entered.value)
        assert written() == expected
    people.turn_clock(began + 170 + 30 * 60 - 1)
    assert people.web.session(entered.value, passive=True).session is not None


def test_t33_a_write_session_ends_on_time_whatever_is_done(people: People) -> None:
    people.add("alice", "editor")
    elevated, credential = people.elevated("alice")
    began = elevated.session.write_until_s - 15 * 60
    accounts = people.host.desk.accounts
    for second in range(0, 15 * 60, 50):
        people.turn_clock(began + second)
        people.web.session(credential.session)
        accounts.writing(WEB, credential)
    people.turn_clock(began + 15 * 60)
    with pytest.raises(NeedsWriteSession):
        accounts.writing(WEB, credential)
    found = people.web.session(credential.session).session
    assert found is not None
    assert found.write_until_s == 0


def test_t33_a_write_session_belongs_to_its_session(people: People) -> None:
    people.add("alice", "editor")
    (_, one), (_, other) = people.elevated("alice"), people.elevated("alice")
    with pytest.raises(NeedsWriteSession):
        people.host.desk.accounts.writing(WEB, Credential(one.session, other.write))
    for code in ("write.begin", "session.begin"):
        assert {each.actor.user for each in people.records(code)} == {"alice"}


# ---- links, first passwords, vouching --------------------------------------------------------------------------------


def test_a_link_leads_to_root_once_and_the_newest_alone(people: People) -> None:
    old, new = people.root.link_make(), people.root.link_make()
    assert new.token.user == "root"
    assert new.token.ends_at_s - new.token.created_at_s == 30 * 60
    for token in (old.value, "x", ""):
        with pytest.raises(SignInFailed):
            people.web.link_use(token, source="s", agent="a")
    entered = people.web.link_use(new.value, source="s", agent="a")
    assert (entered.session.user, entered.session.role, entered.session.how) == ("root", "admin", "link")
    with pytest.raises(SignInFailed):
        people.web.link_use(new.value, source="s", agent="a")


def test_a_link_of_another_user_stays_and_old_ones_die(people: People) -> None:
    people.add("alice", "viewer", None)
    hers, roots = people.root.link_make("alice"), people.root.link_make()
    assert people.web.link_use(hers.value, source="s", agent="a").session.user == "alice"
    people.turn_clock(time.time() + 30 * 60 + 1)
    with pytest.raises(SignInFailed):
        people.web.link_use(roots.value, source="s", agent="a")
    with pytest.raises(NotThere):
        people.root.link_make("nobody")


def test_a_first_password_is_chosen_by_a_fresh_link_alone(people: People) -> None:
    people.add("alice", "editor", None)

    def by_link() -> Credential:
        return Credential(people.web.link_use(people.root.link_make("alice").value, source="s", agent="a").value)

    late = by_link()
    began = time.time()
    people.turn_clock(began + 29 * 60)
    people.web.session(late.session)
    people.turn_clock(began + 31 * 60)
    with pytest.raises(NotAllowed):
        people.web.elevate(late, PASSWORD, choose=True)
    people.turn_clock(began)
    fresh = by_link()
    with pytest.raises(BadField) as refusal:
        people.web.elevate(fresh, "password99", choose=True)
    assert refusal.value.field == "password"
    elevated = people.web.elevate(fresh, PASSWORD, choose=True)
    assert elevated.session.has_password
    with pytest.raises(NotAllowed):
        people.web.elevate(by_link(), "another horse 43", choose=True)
    assert people.enter("alice").session.how == "password"


@pytest.mark.parametrize("how", ["proxy", "oidc"])
def test_nobody_vouches_unless_the_setting_says_so(people: People, how: str) -> None:
    people.add("alice", "editor")
    with pytest.raises(NotAllowed):
        people.web.vouched("alice", how, source="s", agent="a")
    (record,) = people.records("session.refused")
    assert (record.actor.user, record.actor.how) == ("alice", how)


def test_who_is_vouched_for_reads_until_the_password_is_given(tmp_path: Path) -> None:
    people = People(tmp_path, proxy_header="Remote-User")
    people.add("alice", "editor")
    with pytest.raises(SignInFailed):
        people.web.vouched("bob", "proxy", source="s", agent="a")
    with pytest.raises(NotAllowed):
        people.web.vouched("alice", "oidc", source="s", agent="a")
    credential = Credential(people.web.vouched("Alice", "proxy", source="s", agent="a").value)
    for ask in (
        lambda: people.host.desk.accounts.writing(WEB, credential),
        lambda: people.web.token_make(credential, label="x", scope="read", days=1),
    ):
        with pytest.raises(NeedsWriteSession):
            ask()
    with pytest.raises(NotAllowed):
        people.web.elevate(credential, "another horse 43", choose=True)
    elevated = people.web.elevate(credential, PASSWORD)
    assert people.host.desk.accounts.writing(WEB, Credential(elevated.value, elevated.write)).how == "proxy"
    people.host.close()


# ---- admins ----------------------------------------------------------------------------------------------------------

ADMIN_ONLY: list[Callable[[Client, Credential], object]] = [
    lambda web, who: web.user_add(who, "eve", "viewer", None),
    lambda web, who: web.user_role(who, "bob", "admin"),
    lambda web, who: web.user_remove(who, "bob"),
    lambda web, who: web.password(who, "bob", new="another horse 43"),
    lambda web, who: web.token_make(who, user="bob", label="x", scope="read", days=1),
]


@pytest.mark.parametrize(("ask", "role"), [*itertools.product(ADMIN_ONLY, ROLES)])
def test_users_are_for_admins_in_a_write_session(
    people: People, ask: Callable[[Client, Credential], object], role: str
) -> None:
    people.add("them", role)
    people.add("bob", "viewer")
    reading = Credential(people.enter("them").value)
    with pytest.raises(NeedsWriteSession if role == "admin" else NotAllowed):
        ask(people.web, reading)
    if role in {"editor", "admin"}:
        _, writing = people.elevated("them")
        if role == "editor":
            with pytest.raises(NotAllowed):
                ask(people.web, writing)
        else:
            ask(people.web, writing)
    token = people.root.token_make(people.here, user="them", label="x", scope="read", days=1)
    with pytest.raises(NotAllowed):
        ask(people.web, Credential(token.value))


def test_an_api_token_does_not_manage_accounts(people: People) -> None:
    people.add("alice", "admin")
    token = Credential(people.root.token_make(people.here, user="alice", label="x", scope="edit", days=1).value)
    assert people.host.desk.accounts.writing(WEB, token).write_until_s == FOREVER
    for ask in (*ADMIN_ONLY, lambda web, who: web.users(who), lambda web, who: web.sessions(who), lambda web, who: web.tokens(who),
                lambda web, who: web.sign_out(who), lambda web, who: web.elevate(who, PASSWORD)):  # fmt: skip
        with pytest.raises(NotAllowed):
            ask(people.web, token)


def test_root_stays_what_it_is(people: People) -> None:
    for ask in (
        lambda: people.root.user_remove(people.here, "root"),
        lambda: people.root.user_role(people.here, "ROOT", "viewer"),
        lambda: people.root.user_add(people.here, "Root", "viewer", None),
    ):
        with pytest.raises(Taken):
            ask()
    assert [(each.name, each.role, each.has_password) for each in people.root.users(people.here)] == [("root", "admin", False)]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\tb", "a\nb", "x" * 65, "a\u202eb", "a\u200bb", "\x1b[31m", "e\u0301", "a\u00a0b", "\ue000"],
)
def test_names_that_nobody_can_be_called(people: People, name: str) -> None:
    with pytest.raises(BadField) as refusal:
        people.add(name, "viewer")
    assert refusal.value.field == "name"


@pytest.mark.parametrize("name", ["a", "ops-1", "alice@example.org", "Ünal", "名前", "x" * 64])
def test_names_that_somebody_can_be_called(people: People, name: str) -> None:
    people.add(name, "viewer", None)
    assert {each.name for each in people.root.users(people.here)} == {"root", name}
    with pytest.raises(Taken):
        people.add(name, "viewer", None)


def test_every_change_is_on_record_with_who_made_it(people: People) -> None:
    people.add("alice", "admin")
    _, alice = people.elevated("alice")
    people.web.user_add(alice, "bob", "viewer", PASSWORD)
    people.web.user_role(alice, "bob", "editor")
    people.web.password(alice, "bob", new="another horse 43")
    made = people.web.token_make(alice, label="ci", scope="read", days=7)
    people.web.token_revoke(alice, made.token.id)
    people.web.user_remove(alice, "bob")
    people.web.drop(alice)
    people.web.sign_out(alice)
    people.root.link_make()
    records = people.records()[::-1]
    assert [each.code for each in records] == [
        "user.add", "session.begin", "write.begin", "user.add", "user.role", "user.password", "token.make", "token.revoke",
        "user.remove", "write.end", "session.end", "link.make",
    ]  # fmt: skip
    role = records[4]
    assert (role.actor.user, role.actor.role, role.actor.how, role.actor.source, role.actor.request_id) == ("alice", "admin", "password", "203.0.113.1", "a-request")  # fmt: skip
    assert role.detail == "bob: viewer → editor"
    assert (records[0].actor.how, records[0].actor.user, records[-1].actor.how) == ("root", "root", "root")
    for secret in (PASSWORD, "another horse 43", made.value, alice.session, alice.write):
        assert secret not in repr(records)


def test_what_cannot_be_recorded_is_not_done(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.add("alice", "admin")
    _, alice = people.elevated("alice")
    token = people.web.token_make(alice, label="x", scope="read", days=1)

    def full(_: object) -> int:
        raise CannotRecord("the disk is full")

    monkeypatch.setattr(people.host.desk.audit, "note", full)
    before = (people.root.users(people.here), people.root.tokens(people.here))
    for ask in (*(lambda ask=ask: ask(people.web, alice) for ask in ADMIN_ONLY[:1]),
                lambda: people.web.user_role(alice, "alice", "viewer"), lambda: people.web.token_revoke(alice, token.token.id),
                lambda: people.web.password(alice, "alice", old=PASSWORD, new="another horse 43"),
                lambda: people.enter("alice"), people.root.link_make, lambda: people.web.elevate(alice, PASSWORD)):  # fmt: skip
        with pytest.raises(CannotRecord):
            ask()
    assert (people.root.users(people.here), people.root.tokens(people.here)) == before
    assert people.host.desk.accounts.writing(WEB, alice).user == "alice"
    people.web.sign_out(alice)  # an end always stands
    assert people.web.session(alice.session).session is None


def test_a_full_disk_stops_no_reading_and_no_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.add("alice", "editor")
    one, other = people.enter("alice"), people.enter("alice")
    database = people.host.desk.accounts._database

    def full() -> None:
        raise StoreUnusable(database.path, "database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(database, "writing", full)
        people.turn_clock(time.time() + 120)
        assert people.web.session(one.value).session is not None
        people.web.sign_out(Credential(one.value))
        assert people.web.session(one.value).why == "it was signed out"
        assert [each.id for each in people.root.sessions(people.here)] == [other.session.id]
    people.enter("alice")  # there is room again: now it is written
    with database.reading() as connection:
        assert connection.execute("SELECT ended FROM sessions WHERE id = ?", (one.session.id,)).fetchone()[0]


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_lasts_as_long_as_it_says_and_follows_the_role(people: People) -> None:
    people.add("alice", "editor")
    made = people.root.token_make(people.here, user="alice", label="ci", scope="edit", days=7)
    assert made.value.startswith("bpa_")
    accounts = people.host.desk.accounts
    assert accounts.writing(WEB, Credential(made.value)).how == "token"
    people.root.user_role(people.here, "alice", "viewer")
    assert accounts.authorise(WEB, Credential(made.value)).role == "viewer"
    people.turn_clock(made.token.ends_at_s - 1)
    assert people.web.session(made.value).session is not None
    people.turn_clock(made.token.ends_at_s)
    assert people.web.session(made.value).why == "the token's time is over"
    assert people.root.tokens(people.here) == ()


def test_a_reading_token_does_not_write(people: People) -> None:
    people.add("alice", "editor")
    made = people.root.token_make(people.here, user="alice", label="ci", scope="read", days=7)
    with pytest.raises(NeedsWriteSession):
        people.host.desk.accounts.writing(WEB, Credential(made.value))


def test_a_session_makes_no_token_that_outgrows_it(people: People) -> None:
    people.add("alice", "editor")
    people.add("victor", "viewer")
    reading = Credential(people.enter("alice").value)
    people.web.token_make(reading, label="x", scope="read", days=1)
    with pytest.raises(NeedsWriteSession):
        people.web.token_make(reading, label="x", scope="edit", days=1)
    with pytest.raises((NotAllowed, NeedsWriteSession)):
        people.web.token_make(Credential(people.enter("victor").value), label="x", scope="edit", days=1)
    with pytest.raises(NotAllowed):
        people.root.token_make(people.here, user="victor", label="x", scope="edit", days=1)


@pytest.mark.parametrize(
    ("label", "scope", "days", "field"),
    [("", "read", 1, "label"), ("x" * 81, "read", 1, "label"), ("a\u202eb", "read", 1, "label"), ("x", "write", 1, "scope"), ("x", "read", 0, "days"),
     ("x", "read", 366, "days"), ("x", "read", -1, "days")],
)  # fmt: skip
def test_a_token_that_cannot_be(people: People, label: str, scope: str, days: int, field: str) -> None:
    with pytest.raises(BadField) as refusal:
        people.root.token_make(people.here, label=label, scope=scope, days=days)
    assert refusal.value.field == field


def test_too_many_sessions_end_the_one_that_was_used_least(people: People) -> None:
    people.add("alice", "viewer")
    sessions = people.host.desk.accounts.sessions
    began = time.time()
    values = []
    for number in range(52):
        people.turn_clock(began + number)
        values.append(sessions.begin("alice", "password", "s", "a", lambda _: None)[0])
    assert [people.web.session(value).session is not None for value in values] == [False] * 2 + [True] * 50


def test_accounts_outlive_the_process(people: People, tmp_path: Path) -> None:
    people.add("alice", "editor")
    elevated, credential = people.elevated("alice")
    people.host.close()
    again = People(tmp_path)
    assert again.host.desk.accounts.writing(WEB, credential).user == "alice"
    assert elevated.session.id == again.root.sessions(again.here)[0].id
    again.host.close()
