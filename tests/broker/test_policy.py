"""The policy: what its rules decide, what its errors say, and that nobody edits by a file that cannot be trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.broker.policy.file import PolicyFile
from app.broker.policy.limits import PERIOD_S, Limits
from app.broker.policy.parse import REDACT_KEYS, RULE_KEYS, PolicyError, parse
from app.broker.policy.rules import BUILT_IN, DEFAULT_ACTIONS, Bounds, Policy, Ruling
from app.wire.edits import ACTIONS
from app.wire.errors import TooFast
from app.wire.patterns import Relation, relation

HEAD = "version = 1\n"


def rules(text: str) -> Policy:
    return parse(HEAD + text)


def decide(
    policy: Policy,
    *paths: str,
    action: str = "set",
    role: str = "editor",
    map_name: str = "flows",
    pins: tuple[str, ...] = (),
    type_name: str = "hash",
    scalars: Collection[str] = (),
) -> Ruling:
    return policy.decide(
        map_name=map_name, pins=pins, type_name=type_name, action=action, paths=paths, role=role, scalars=scalars
    )


FLOWS = """
[[rule]]
maps = ["flows*"]
fields = ["value.limit", "value.peer.*"]
min = 1
max = 100
per_minute = 5
note = "limits of flows"

[[rule]]
maps = ["flows*"]
fields = ["value.secret"]
role = "nobody"
note = "a key"

[[rule]]
pins = ["/sys/fs/bpf/tc/*"]
role = "admin"
approvals = 1

[[rule]]
types = ["LRU_*", "array"]
actions = ["set", "clear"]
values = [1, 2]
fields = ["value"]
"""

TABLE: list[tuple[str, dict[str, object], str]] = [
    ("a named field", {"paths": ("value.limit",)}, "1"),
    ("a field within a pattern", {"paths": ("value.peer.port",)}, "1"),
    ("a deeper one", {"paths": ("value.peer.address[3]",)}, "1"),
    ("an admin may what editors may", {"paths": ("value.limit",), "role": "admin"}, "1"),
    ("a viewer may not", {"paths": ("value.limit",), "role": "viewer"}, "only the role editor"),
    ("an auditor may not", {"paths": ("value.limit",), "role": "auditor"}, "only the role editor"),
    ("no rule about it", {"paths": ("value.other",)}, "no rule that lets anybody set value.other"),
    ("another map", {"paths": ("value.limit",), "map_name": "other"}, "no rule"),
    ("for nobody", {"paths": ("value.secret",), "role": "admin"}, "rule 2 of the policy (line 11) lets nobody do this: a key"),
    ("a part of it, for nobody", {"paths": ("value.secret.low",), "role": "admin"}, "nobody"),
    ("the strictest of several", {"paths": ("value.limit", "value.secret"), "role": "admin"}, "nobody"),
    ("one of several has no rule", {"paths": ("value.limit", "value.other")}, "no rule"),
    ("what holds a limited field", {"paths": ("value.peer",)}, "no rule that lets anybody set value.peer"),
    ("all of a value with limits", {"paths": (), "action": "replace"}, "no rule that lets anybody replace entries"),
    ("pinned, by an editor", {"paths": ("value.x",), "map_name": "m", "pins": ("/x", "/sys/fs/bpf/tc/m")}, "only the role admin"),
    ("pinned, by an admin", {"paths": ("value.x",), "map_name": "m", "pins": ("/sys/fs/bpf/tc/m",), "role": "admin"}, "3"),
    ("pinned, the whole value, by an admin", {"paths": (), "action": "create", "map_name": "m", "pins": ("/sys/fs/bpf/tc/m",), "role": "admin"}, "3"),
    ("pinned, another action", {"paths": (), "action": "freeze", "map_name": "m", "pins": ("/sys/fs/bpf/tc/m",), "role": "admin"}, "no rule"),
    ("by type", {"paths": ("value",), "map_name": "m", "type_name": "lru_hash"}, "4"),
    ("by type in capitals", {"paths": ("value.a",), "map_name": "m", "type_name": "ARRAY"}, "4"),
    ("by type, another", {"paths": ("value",), "map_name": "m", "type_name": "percpu_array"}, "no rule"),
    ("an action of the rule", {"paths": (), "action": "clear", "map_name": "m", "type_name": "array"}, "4"),
    ("an action that there is not", {"paths": (), "action": "explode"}, "no action"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_first_rule_that_matches_decides(edit: dict[str, object], expected: str) -> None:
    paths = edit.pop("paths")
    assert isinstance(paths, tuple)
    ruling = decide(rules(FLOWS), *paths, **edit)  # type: ignore[arg-type]
    edit["paths"] = paths
    if expected.isdecimal():
        assert (ruling.allowed, ruling.reason, ruling.rule_number) == (True, "", int(expected))
    else:
        assert not ruling.allowed
        assert expected in ruling.reason


def test_a_ruling_brings_limits_and_bounds() -> None:
    ruling = decide(rules(FLOWS), "value.limit", "value.peer.port")
    assert (ruling.line, ruling.per_minute, ruling.approvals) == (3, 5, 0)
    assert ruling.bounds == (Bounds(minimum=1, maximum=100),) * 2
    assert [ruling.bounds[0].problem(number) == "" for number in (0, 1, 100, 101)] == [False, True, True, False]
    assert Bounds(values=frozenset({1, 3})).problem(2) == "2 is none of what the policy allows: 1, 3"


def test_what_is_kept_from_set_cannot_be_had_by_replace() -> None:
    policy = rules('[[rule]]\nfields = ["value.secret"]\nrole = "nobody"\n[[rule]]\n')
    assert decide(policy, "value.other").allowed
    for action in sorted(DEFAULT_ACTIONS - {"set"}):
        assert not decide(policy, action=action).allowed
    assert not decide(policy, "value").allowed


def test_whole_values_are_written_where_no_rule_limits_a_field_of_them() -> None:
    policy = rules('[[rule]]\nfields = ["value.limit"]\nmax = 5\n[[rule]]\n')
    assert "limits value.limit" in decide(policy, action="replace").reason
    assert "limits value.limit" in decide(policy, action="create").reason
    assert decide(policy, action="delete").allowed
    assert decide(policy, "value.limit").bounds == (Bounds(maximum=5),)


def test_a_number_has_nothing_within() -> None:
    policy = rules('[[rule]]\nfields = ["value.*.key"]\nrole = "nobody"\n[[rule]]\n')
    about = {"map_name": "m", "pins": (), "type_name": "hash", "action": "set", "paths": ("value.limit",)}
    assert not policy.decide(**about, role="admin").allowed  # type: ignore[arg-type]
    assert policy.decide(**about, role="admin", scalars={"value.limit"}).allowed  # type: ignore[arg-type]
    about["paths"] = ("value.limit.key",)
    assert not policy.decide(**about, role="admin", scalars={"value.limit.key"}).allowed  # type: ignore[arg-type]


def test_the_built_in_policy() -> None:
    for action in ACTIONS:
        editors = action in DEFAULT_ACTIONS
        assert decide(BUILT_IN, action=action, role="editor").allowed is editors, action
        assert decide(BUILT_IN, action=action, role="admin").allowed, action
        assert not decide(BUILT_IN, action=action, role="viewer").allowed, action
        assert not decide(BUILT_IN, action=action, role="auditor").allowed, action


# ---- patterns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("value", "value", Relation.COVERS),
        ("value", "value.a", Relation.COVERS),
        ("value.a", "value", Relation.OVERLAPS),
        ("value.a", "value.ab", Relation.APART),
        ("value.ab", "value.a", Relation.APART),
        ("value.a", "value.a[3].b", Relation.COVERS),
        ("value.a[3]", "value.a[3]", Relation.COVERS),
        ("value.a[3]", "value.a[30]", Relation.APART),
        ("value.a[3]", "value.a3", Relation.APART),
        ("value.a[3]", "value.a", Relation.OVERLAPS),
        ("value.a[*].b", "value.a[7].b", Relation.COVERS),
        ("value.a[*].b", "value.a[7]", Relation.OVERLAPS),
        ("value.a[*].b", "value.a[7].c", Relation.APART),
        ("value.*", "value", Relation.OVERLAPS),
        ("value.*", "value.x.y", Relation.COVERS),
        ("value.*secret*", "value.my_secret_key", Relation.COVERS),
        ("value.*secret*", "value.a", Relation.APART),
        ("value.*secret*", "value.a.secret", Relation.APART),
        ("value.*.*secret*", "value.a.secret", Relation.COVERS),
        ("value[*]", "value[3]", Relation.COVERS),
        ("value[*]", "value.a", Relation.APART),
        ("value.?", "value.ab", Relation.APART),
        ("value.a.b.c", "value.a", Relation.OVERLAPS),
        ("value.*.c", "value.a", Relation.OVERLAPS),
        ("value.*.c", "value.a[1].c", Relation.APART),
        ("value.b.c", "value.a", Relation.APART),
    ],
)
def test_patterns_of_paths(pattern: str, path: str, expected: Relation) -> None:
    assert relation(pattern, path) is expected


names = st.lists(st.sampled_from(["a", "b", "*", "?", "ab", "a*"]), min_size=1, max_size=3).map(".".join)


@given(pattern=names, path=names, more=names)
def test_a_pattern_that_covers_covers_what_is_within(pattern: str, path: str, more: str) -> None:
    if relation(pattern, path) is Relation.COVERS:
        assert relation(pattern, f"{path}.{more}") is Relation.COVERS
    if relation(pattern, f"{path}.{more}") is Relation.COVERS:
        assert relation(pattern, path) is not Relation.APART


policies = st.lists(
    st.fixed_dictionaries(
        {
            "fields": st.lists(st.sampled_from(["value", "value.a", "value.a.x", "value.b", "value.*"]), max_size=2),
            "role": st.sampled_from(["editor", "admin", "nobody"]),
            "actions": st.lists(st.sampled_from(sorted(DEFAULT_ACTIONS)), max_size=3),
        }
    ),
    max_size=5,
)


def written(policy: list[dict[str, object]]) -> Policy:
    text = ""
    for rule in policy:
        text += "[[rule]]\n" + "".join(f"{key} = {value!r}\n" for key, value in rule.items() if value)
    return rules(text)


@given(policy=policies, role=st.sampled_from(["viewer", "editor", "admin", "auditor"]), action=st.sampled_from(ACTIONS))
def test_an_edit_of_several_fields_is_allowed_only_if_each_is(
    policy: list[dict[str, object]], role: str, action: str
) -> None:
    read = written(policy)
    paths = ("value.a", "value.b")
    together = decide(read, *paths, action=action, role=role).allowed
    assert together == all(decide(read, path, action=action, role=role).allowed for path in paths)
    if decide(read, action=action, role=role).allowed:  # all of the value
        assert all(decide(read, path, action=action, role=role).allowed for path in (*paths, "value.a.x"))
    if role in {"viewer", "auditor"}:
        assert not together
    if together and role == "editor":
        assert decide(read, *paths, action=action, role="admin").allowed


# ---- redaction ------------------------------------------------------------------------------------------------------

REDACT = """
[[redact]]
maps = ["keys"]
fields = ["value.secret", "value.*.*token*"]
hide_from = ["viewer", "editor"]

[[redact]]
types = ["hash"]
maps = ["all"]

[[redact]]
maps = ["shown"]
audit = false
hide_from = ["viewer"]
"""


def test_redactions_say_what_and_from_whom() -> None:
    policy = rules(REDACT)
    (keys,) = policy.redactions(map_name="keys", pins=(), type_name="array")
    assert keys.audit
    assert keys.hides("value.secret", "viewer")
    assert keys.hides("value.secret[2]", "editor")
    assert keys.hides("value.a.token_b", "viewer")
    assert keys.hides("value", "viewer"), "what holds it"
    assert keys.covers("value.other"), "something in it may be a token"
    assert not keys.covers("value.other", scalar=True)
    assert not keys.covers("value.a.b")
    assert not keys.hides("value.secret", "admin")
    (everything,) = policy.redactions(map_name="all", pins=(), type_name="hash")
    assert everything.covers("value.anything")
    assert everything.hide_from == frozenset()
    assert policy.redactions(map_name="all", pins=(), type_name="array") == ()
    (shown,) = policy.redactions(map_name="shown", pins=(), type_name="array")
    assert not shown.audit


def test_while_the_file_has_an_error_what_was_hidden_stays_hidden(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(HEAD + REDACT)
    file = PolicyFile(path)
    path.write_text("nonsense")
    policy = file.current()
    assert policy.problem
    assert policy.redactions(map_name="other", pins=(), type_name="array") == ()
    (keys,) = policy.redactions(map_name="keys", pins=(), type_name="array")
    assert keys.hides("value.secret", "viewer")


def test_a_file_that_was_never_good_may_hide_anything(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("nonsense")
    policy = PolicyFile(path).current()
    (all_of_it,) = policy.redactions(map_name="m", pins=(), type_name="hash")
    assert all_of_it.audit
    assert all_of_it.hides("value.x", "viewer")
    assert not all_of_it.hides("value.x", "admin")


# ---- errors ---------------------------------------------------------------------------------------------------------

BROKEN: list[tuple[str, int, str]] = [
    (f"version = {'[' * 7000}", 1, "it is nested too deeply"),
    (f"version = {'1' * 5000}", 1, "a number in it has thousands of digits"),
    ("", 1, "`version = 1` is missing"),
    ("version = 2\n", 1, "2 is no version that this release knows"),
    ("version = true\n", 1, "no version"),
    ("version = 1\nnonsense", 2, "no TOML"),
    ("version = 1\n\n[[rule]\n", 3, "no TOML"),
    ("version = 1\n[[rule]]\nmaps = [\n 'a',\n", 4, "no TOML at the end"),
    ("version = 1\nversion = 1\n", 2, "no TOML"),
    ("version = 1\nspeed = 3\n", 2, "`speed`: there is no such key here"),
    ("version = 1\n[other]\n", 2, "there is no such key"),
    ("version = 1\n[rule]\nrole = 'admin'\n", 2, "write [[rule]]"),
    ("version = 1\nrule = 3\n", 2, "write [[rule]]"),
    ("version = 1\n[[rule]]\nmap = ['a']\n", 3, "`map`: there is no such key here; these are known: maps, pins"),
    ("version = 1\n[[rule]]\n\n# why\nmaps = 'a'\n", 5, "`maps`: a list of texts is wanted"),
    ("version = 1\n[[rule]]\nmaps = []\n", 3, "`maps`: a list of texts"),
    ("version = 1\n[[rule]]\nmaps = ['']\n", 3, "`maps`: a list of texts"),
    ("version = 1\n[[rule]]\nmaps = [3]\n", 3, "`maps`: a list of texts"),
    ("version = 1\n[[rule]]\n[[rule]]\nrole = 'viewer'\n", 4, "`role`: 'viewer' is none of editor, admin, nobody"),
    ("version = 1\n[[rule]]\nrole = 3\n", 3, "`role`: 3 is none of"),
    ("version = 1\n[[rule]]\nactions = ['set', 'explode']\n", 3, "`actions`: 'explode' is none of set, replace"),
    ("version = 1\n[[rule]]\nfields = ['key.a']\n", 3, "begin it with `value`"),
    ("version = 1\n[[rule]]\nfields = ['value.a', 'value..b']\n", 3, "begin it with `value`"),
    ("version = 1\n[[rule]]\nfields = ['value.a']\nmin = 1.5\n", 4, "`min`: a whole number is wanted, 1.5"),
    ("version = 1\n[[rule]]\nfields = ['value.a']\nmin = true\n", 4, "`min`: a whole number"),
    ("version = 1\n[[rule]]\nfields = ['value.a']\nmin = 5\n\nmax = 4\n", 6, "`max`: 4 is below `min`, which is 5"),
    ("version = 1\n[[rule]]\nfields = ['value.a']\nmax = 99999999999999999999\n", 4, "is not from"),
    ("version = 1\n[[rule]]\nmax = 4\n", 3, "`max`: a limit is for fields"),
    ("version = 1\n[[rule]]\nfields = ['value.a']\nvalues = 'on'\n", 4, "`values`: a list of whole numbers"),
    ("version = 1\n[[rule]]\nper_minute = 0\n", 3, "`per_minute`: 0 is not from 1 to"),
    ("version = 1\n[[rule]]\napprovals = 3\n", 3, "`approvals`: 3 is not from 0 to 2"),
    ("version = 1\n[[rule]]\nnote = 'a\\nb'\nmaps = ['\\u0000']\n[[rule]]\nnote = \"a\\nb\"\n", 6, "`note`: one line"),
    ("version = 1\n[[redact]]\nhide_from = ['nobody']\n", 3, "`hide_from`: 'nobody' is none of viewer"),
    ("version = 1\n[[redact]]\naudit = 1\n", 3, "`audit`: true or false"),
    ("version = 1\n[[redact]]\naudit = false\n", 2, "does nothing"),
    ('version = 1\n[[redact]]\nhide_from = ["viewer", "editor"]\naudit = false\n', 4, "the log is read by editor"),
    ("version = 1\n[[redact]]\nrole = 'admin'\n", 3, "`role`: there is no such key here"),
    ("version = 1\nrule = [{maps = ['a']}, {role = 'x'}]\n", 2, "`role`"),
    ("version = 1\n[[rule]]\nnote = '''\n[[rule]]\nmaps = 3'''\n[[rule]]\nper_minute = -1\n", 3, "`note`: one line"),
    ("version = 1\n[[rule]]\nmaps = [\n  'a', # role = 'x'\n  '[[rule]]',\n]\n'per_minute' = -1\n", 7, "`per_minute`"),
    ("version = 1\n[[rule]] # first\nmaps = ['a\"b'] # [[rule]]\n[[ 'rule' ]]\npins = {}\n", 5, "`pins`"),
    ("version = 1\n[[rule]]\nrole.x = 'admin'\n", 3, "`role`"),
]


@pytest.mark.parametrize(("text", "line", "said"), BROKEN, ids=[row[2][:40] for row in BROKEN])
def test_an_error_names_file_and_line(text: str, line: int, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(text, "/etc/policy.toml")
    sentence = str(caught.value)
    assert sentence.startswith(f"/etc/policy.toml line {line}: "), sentence
    assert said in sentence
    assert "\n" not in sentence


@given(text=st.text(alphabet="version=1\n[]\"'{}ruled map#\\.0", max_size=80))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    for given_text in (text, HEAD + text):
        try:
            policy = parse(given_text)
        except PolicyError:
            continue
        assert policy.problem == ""


DOCUMENT = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()


def test_the_example_of_the_document_means_what_it_says() -> None:
    policy = parse(DOCUMENT.partition("```toml\n")[2].partition("```")[0])
    assert [rule.note for rule in policy.rules if rule.note] == ["limits, within reason", "the agent owns them"]
    limit = decide(policy, "value.limit", scalars={"value.limit"})
    assert (limit.allowed, limit.per_minute, limit.bounds[0].maximum) == (True, 30, 10_000)
    assert not decide(policy, "value.packets", role="admin", scalars={"value.packets"}).allowed
    assert decide(policy, "value.packets", map_name="other").allowed
    assert not decide(policy, action="put", map_name="other").allowed
    cilium = decide(policy, action="delete", map_name="x", pins=("/sys/fs/bpf/tc/globals/cilium_lxc",), role="admin")
    assert (cilium.allowed, cilium.approvals) == (True, 1)
    (tunnels,) = policy.redactions(map_name="tunnels", pins=(), type_name="hash")
    assert tunnels.hides("value.peers[3].psk", "editor")


def test_the_document_has_every_key() -> None:
    rules_part, redact_part = DOCUMENT.partition("## Rules")[2].split("## Redaction")
    for part, keys in ((rules_part, RULE_KEYS), (redact_part, REDACT_KEYS)):
        named = {
            word
            for line in part.splitlines()
            if line.startswith("| `")
            for word in re.findall(r"`(\w+)`", line.split("|")[1])
        }
        assert named == set(keys)


# ---- the file -------------------------------------------------------------------------------------------------------


def test_without_a_file_the_built_in_policy_holds(tmp_path: Path) -> None:
    assert PolicyFile(tmp_path / "policy.toml").current() is BUILT_IN


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    file = PolicyFile(path)
    path.write_text(HEAD + "[[rule]]\nrole = 'nobody'\n")
    first = file.current()
    assert not decide(first, "value.a", role="admin").allowed
    assert file.current() is first, "not read again unless it changed"
    path.write_text(HEAD + "[[rule]]\nrole = 'editor'\n")
    assert decide(file.current(), "value.a").allowed
    path.write_text("half of it")
    assert "line 1" in decide(file.current(), "value.a", role="admin").reason


def test_a_file_that_vanishes_does_not_bring_the_built_in_policy_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(HEAD + "[[rule]]\nrole = 'admin'\n")
    file = PolicyFile(path)
    path.unlink()
    assert "put it back" in decide(file.current(), "value.a", role="admin").reason
    path.write_text(HEAD + "[[rule]]\n")
    assert decide(file.current(), "value.a").allowed
    assert PolicyFile(tmp_path / "never").current() is BUILT_IN


UNTRUSTED: list[tuple[str, Callable[[Path], object], str]] = [
    ("others can write it", lambda path: path.chmod(0o666), "chmod go-w"),
    ("its group can write it", lambda path: path.chmod(0o660), "chmod go-w"),
    ("it is somebody else's", lambda path: os.chown(path, 12345, 0), "chown root"),
    ("it is a pipe", lambda path: (path.unlink(), os.mkfifo(path)), "no regular file"),
    ("it is a directory", lambda path: (path.unlink(), path.mkdir()), "no regular file"),
    ("it is long", lambda path: path.write_bytes(HEAD.encode() + b"#" * (1 << 20)), "bytes"),
    ("it is no text", lambda path: path.write_bytes(HEAD.encode() + b"#\n#\xff"), "line 3: byte 15 is no UTF-8"),
]


@pytest.mark.parametrize(("spoil", "said"), [row[1:] for row in UNTRUSTED], ids=[row[0] for row in UNTRUSTED])
def test_nobody_edits_by_a_file_that_cannot_be_trusted(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(HEAD + "[[rule]]\n")
    file = PolicyFile(path)
    assert decide(file.current(), "value.a").allowed
    spoil(path)
    ruling = decide(file.current(), "value.a", role="admin")
    assert not ruling.allowed
    assert said in ruling.reason


# ---- so many a minute -----------------------------------------------------------------------------------------------


def test_so_many_a_minute_and_key() -> None:
    now_s = 100.0
    limits = Limits(lambda: now_s)
    for _ in range(3):
        limits.take("anna", 3)
    with pytest.raises(TooFast, match="3 such edits a minute") as caught:
        limits.take("anna", 3)
    assert caught.value.retry_s == PERIOD_S
    limits.take("berta", 3)
    limits.take("anna", 0)
    now_s += PERIOD_S
    limits.take("anna", 3)


def within(times: list[float], now_s: float) -> int:
    return sum(now_s - each < PERIOD_S for each in times)


@given(gaps=st.lists(st.floats(0, 40), max_size=60), per_minute=st.integers(1, 6))
def test_never_more_than_that_in_any_minute(gaps: list[float], per_minute: int) -> None:
    now_s = 0.0
    limits = Limits(lambda: now_s)
    taken: list[float] = []
    refusals: list[tuple[int, int]] = []
    for gap in gaps:
        now_s += gap
        try:
            limits.take("anna", per_minute)
        except TooFast as refused:
            refusals.append((refused.retry_s, within(taken, now_s)))
        else:
            taken.append(now_s)
            assert within(taken, now_s) <= per_minute
    assert all(count == per_minute and 1 <= retry_s <= PERIOD_S for retry_s, count in refusals)


def test_forgotten_keys_take_no_memory() -> None:
    now_s = 0.0
    limits = Limits(lambda: now_s)
    for number in range(5_000):
        now_s += 1
        limits.take(number, 1)
    assert len(limits._times) <= 1_001
