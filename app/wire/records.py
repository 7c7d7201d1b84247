"""Bodies of the audit log: one record an event, in the order in which the broker wrote them.

An edit has two records: its intent, written and synced before the system call, and its outcome, which names the intent.
"""

from __future__ import annotations

from app.wire.accounts import Credential
from app.wire.bodies import Body


class MapIdentity(Body, frozen=True):
    """What tells a map from a later one, even of the same id or name; an edit is bound to all of it."""

    id: int
    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    btf_id: int
    btf_value_type_id: int

    @property
    def is_map(self) -> bool:
        """False in records that are about no map."""
        return self.id != 0


NO_MAP = MapIdentity(0, "", 0, 0, 0, 0, 0, 0, 0)


class ActorFacts(Body, frozen=True):
    """Who did it."""

    user: str
    role: str
    session: str
    """Id of the session or token, empty for the host's root."""
    how: str
    """`password`, `link`, `proxy`, `oidc`, `token`, `root`."""
    source: str
    """Address or `cli`, as the asking process said it."""
    uid: int
    """Of the process that asked, by the kernel's word."""
    pid: int
    request_id: str = ""
    approved_by: str = ""
    """The second person, where a rule asks for one."""


class FieldRecord(Body, frozen=True):
    """One field of an edit, as its bytes (bit fields: the number, little-endian, in as many bytes as hold it)."""

    path: str
    offset_bits: int
    size_bits: int
    cpu: int
    """-1: not a per-CPU value."""
    old: bytes | None
    """None in an intent that expects nothing; in an outcome what was there before."""
    new: bytes | None
    """In an intent what is to be written, in an outcome what the entry holds afterwards."""
    old_text: str = ""
    new_text: str = ""
    redacted: bool = False
    """`old` and `new` were left out by the policy, and so this cannot be undone."""
    operation: str = "swap"
    """As in wire.edits.Change; of others than `swap`, an intent's `new` is the operand."""


class AuditRecord(Body, frozen=True):
    """One record. Empty and zero where something does not apply."""

    at_ns: int
    """CLOCK_REALTIME."""
    boot_id: str
    code: str
    """`map.set.intent`, `map.set.ok`, `map.set.fail`, `map.set.unknown`, `session.begin`, `session.refused` and so on."""
    actor: ActorFacts
    map: MapIdentity = NO_MAP
    map_tag: str = ""
    """First 16 hexadecimal digits of a SHA-256 over boot id and identity."""
    action: str = ""
    """`set`, `replace`, `create`, `delete` … as in wire.edits."""
    key: bytes = b""
    owner: str = ""
    """Of a storage's element: `task:PID`, `cgroup:/path` …"""
    fields: tuple[FieldRecord, ...] = ()
    old_value: bytes | None = None
    """The whole value before, where it is known and not redacted."""
    new_value: bytes | None = None
    detail: str = ""
    """What else there is to say in one line: a pin's path, what a slot was given, who was refused and why."""
    reason: str = ""
    intent: int = 0
    """Of an outcome: the number of its intent."""
    undo_of: int = 0
    """Number of the intent that this edit takes back."""
    plan: int = 0
    """Number of the plan that the edit is a row of."""
    method: str = ""
    result: str = ""
    """`done`, `conflict` … as in wire.edits; `unknown` after a crash."""
    duration_ns: int = 0
    redacted: bool = False


class NumberedRecord(Body, frozen=True):
    """A record with its place in the log."""

    number: int
    """From 1, without gaps."""
    chain: str
    """Last 16 hexadecimal digits of its link in the chain."""
    record: AuditRecord


class AskRecords(Body, frozen=True):
    """Newest first. Empty and zero select nothing in particular."""

    credential: Credential
    before: int = 0
    """Only numbers below this; 0: from the newest."""
    limit: int = 100
    """At most 500 come."""
    map_id: int = 0
    user: str = ""
    code: str = ""
    """A code, or the beginning of one: `map.`"""
    text: str = ""
    """Somewhere in reason, detail, map name, field path or user."""
    since_ns: int = 0
    until_ns: int = 0
    key_hex: str = ""


class Records(Body, frozen=True):
    """`before` asks for the next page; 0 at the end."""

    records: tuple[NumberedRecord, ...]
    before: int
    total: int
    """Of the whole log."""


class AskRecord(Body, frozen=True):
    """One record and what belongs to it."""

    credential: Credential
    number: int


class RecordGroup(Body, frozen=True):
    """An intent with its outcome (none while it runs), and the intents that took it back."""

    intent: NumberedRecord
    outcome: NumberedRecord | None
    undone_by: tuple[int, ...]


class AskHistory(Body, frozen=True):
    """Somebody wants the history changed: may they, and who are they? It stands in the log before it is done."""

    credential: Credential
    change: str
    """`take`, `label`, `forget`, `ignore`, `rules`, `import`, `restore`."""
    detail: str
    by_root: bool = False
    """A process of the host's root asked the recorder, without a session; believed of the recorder alone."""
    pid: int = 0
    """Of that process."""


class Author(Body, frozen=True):
    """Whose session it is."""

    user: str


class AskVerify(Body, frozen=True):
    """Walk the whole chain."""

    credential: Credential


class Verdict(Body, frozen=True):
    """What the walk found."""

    ok: bool
    records: int
    first_bad: int
    """Number of the first record that is not as it was written, or is missing; 0 when all are."""
    sentence: str
    unfinished: tuple[int, ...]
    """Intents without an outcome: they run just now, or the broker has not started since it crashed."""
