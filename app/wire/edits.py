"""Bodies of edits: what is to change, what would come of it, and what came of it.

Numbers and bytes are as the kernel keeps them. A field is named by its path, and the broker finds its place in the map's
BTF itself: the place that comes with it must be the same.
"""

from __future__ import annotations

from app.wire.accounts import Credential
from app.wire.bodies import Body
from app.wire.records import MapIdentity

ACTIONS = (
    "set",      # one or more fields of an existing entry
    "replace",  # the whole value of an existing entry
    "create",   # a new entry (BPF_NOEXIST)
    "delete",
    "put",      # a slot's program, map, device, CPU queue, cgroup or socket, given by `thing`
    "push",     # queue, stack, bloom filter
    "pop",      # queue, stack
    "freeze",
    "pin",
    "unpin",
    "clear",    # every entry
    "make",     # a new map
)  # fmt: skip

RESULTS = (
    "planned",     # a dry run: nothing was written
    "pending",     # waits for a second person
    "done",        # written, and read again: it is there
    "conflict",    # the entry holds something else than what was expected; nothing written
    "no_entry",    # nothing written
    "contended",   # nothing written: programs change the word faster than it can be swapped
    "refused",     # nothing written: the sentence says why
    "replaced",    # written to an element that a program replaced meanwhile
    "overtaken",   # written, and changed by a program since
    "partial",     # some of several fields are written, and could not be taken back
    "unknown",     # the broker died in between
)  # fmt: skip

ALL_CPUS = -1
NO_CPU = -2


class Change(Body, frozen=True):
    """One field. `new` and `expected` are a number for fields of up to 64 bits, bytes for wider ones."""

    path: str
    """As in `value.limit`; of maps without BTF `value.u32[1]`."""
    offset_bits: int
    size_bits: int
    signed: bool = False
    big_endian: bool = False
    operation: str = "swap"
    """`swap` (compare and swap), `exchange`, `add`, `and`, `or`."""
    new: int | bytes = 0
    """The new one, or the operand."""
    expected: int | bytes | None = None
    """What it must hold, for `swap`."""
    cpu: int = NO_CPU
    """Of a per-CPU value: whose, or ALL_CPUS."""
    expected_each: tuple[int, ...] = ()
    """With ALL_CPUS: what each possible CPU's must hold."""
    old_text: str = ""
    """As people read it, for the record."""
    new_text: str = ""


class NewMap(Body, frozen=True):
    """A map to make."""

    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int = 0
    inner_map_id: int = 0
    """Template of a map in maps."""
    map_extra: int = 0
    pin: str = ""
    """Where to pin it: a map that nothing holds is gone at once."""


class Edit(Body, frozen=True):
    """What is to happen."""

    map: MapIdentity
    action: str
    key: bytes = b""
    owner: str = ""
    """Instead of a key, for local storages: `task:PID`, `cgroup:/sys/fs/cgroup/…`, `inode:/path`, `socket:PID:FD`."""
    changes: tuple[Change, ...] = ()
    value: bytes = b""
    """For replace, create, push. Of per-CPU maps one value for every CPU, or all of them, each padded to 8 bytes."""
    thing: str = ""
    """For put, and create in maps of things: `prog:ID`, `map:ID`, `pin:/path`, `dev:NAME` or `dev:NAME+prog:ID`, `cpu:QSIZE` or
    `cpu:QSIZE+prog:ID`, `cgroup:/path`, `socket:PID:FD`."""
    seen: bytes | None = None
    """The whole value as it was shown: ways that write or remove all of it refuse if any byte has changed."""
    path: str = ""
    """For pin and unpin."""
    new_map: NewMap | None = None


class AskEdit(Body, frozen=True):
    """Plan it (`dry_run`), or do it."""

    credential: Credential
    edit: Edit
    reason: str
    dry_run: bool


class FieldPlan(Body, frozen=True):
    """How one field will be, or was, changed."""

    path: str
    method: str
    """`kernel_swap`, `kernel_store`, `mmap_store`, `locked_update`, `update`, `refused`."""
    promise: str
    """What that way can and cannot promise."""
    why: str
    """Why none before it was chosen."""
    before: int | bytes | None
    """What the field holds now (dry run), or held before."""
    after: int | bytes | None
    """What it would hold, or holds."""
    cpu: int = NO_CPU
    result: str = ""


class Report(Body, frozen=True):
    """What would come, or came, of an edit."""

    result: str
    """One of RESULTS."""
    sentence: str
    """For people: what it means and what to do."""
    audit: int = 0
    """Number of the intent's record; 0 when nothing was to be recorded (dry runs)."""
    fields: tuple[FieldPlan, ...] = ()
    method: str = ""
    """Of the whole: the weakest of its fields', or `create`, `delete` …"""
    promise: str = ""
    why: str = ""
    before: bytes | None = None
    """The whole value before."""
    after: bytes | None = None
    """The whole value as it would be, or as it was read again."""
    warnings: tuple[str, ...] = ()
    approvals: int = 0
    """How many more people must agree first."""
    plan: int = 0
    """Of a pending edit, the plan that waits."""
    new_map_id: int = 0
    duration_ns: int = 0


class AskUndo(Body, frozen=True):
    """Take one edit back, as an edit of its own."""

    credential: Credential
    audit: int
    reason: str
    dry_run: bool


class AskMay(Body, frozen=True):
    """What this person may do with this map now."""

    credential: Credential
    map_id: int


class MayAct(Body, frozen=True):
    """One action."""

    action: str
    possible: bool
    """The map's type and state allow it."""
    allowed: bool
    """This person may, given a write session."""
    reason: str
    """Why not, empty when nothing stands in the way but the write session."""


class May(Body, frozen=True):
    """Answer to AskMay."""

    map: MapIdentity
    edits: bool
    """The service was started with --allow-edits, and its policy is sound."""
    why: str
    """Why not."""
    actions: tuple[MayAct, ...]
    write_until_s: int
    redacted: tuple[str, ...]
    """Patterns of paths that this person sees no values of."""


class AskHidden(Body, frozen=True):
    """What this person may not see of a map of the past, named as it was."""

    credential: Credential
    name: str
    pins: tuple[str, ...]
    type: int


class Hidden(Body, frozen=True):
    """Answer to AskHidden."""

    patterns: tuple[str, ...]
    """Of paths, as `May.redacted`."""


# ---- plans: many edits of one map, or one that waits for a second person ----------------------------------------------


class PlanRow(Body, frozen=True):
    """One edit of a plan, and how far it is."""

    number: int
    edit: Edit
    state: str
    """`ready`, `done`, `failed`, `unknown`."""
    audit: int
    sentence: str


class PlanFacts(Body, frozen=True):
    """A plan without its rows."""

    id: int
    map: MapIdentity
    label: str
    reason: str
    user: str
    created_at_s: int
    state: str
    """`draft`, `waiting` (for approval), `ready`, `running`, `stopped`, `done`, `cancelled`."""
    rows: int
    done: int
    failed: int
    sentence: str
    """Why it stopped, what it waits for."""
    approvals: int
    """Still needed."""
    approved_by: tuple[str, ...]


class AskPlanMake(Body, frozen=True):
    """A new plan, without rows yet."""

    credential: Credential
    map: MapIdentity
    label: str
    reason: str


class AskPlanRows(Body, frozen=True):
    """Further rows of a draft."""

    credential: Credential
    plan: int
    edits: tuple[Edit, ...]


class AskPlan(Body, frozen=True):
    """One plan, and some of its rows."""

    credential: Credential
    plan: int
    first: int = 0
    limit: int = 0


class AskPlans(Body, frozen=True):
    """Newest first."""

    credential: Credential
    before: int = 0
    limit: int = 50


class AskPlanStep(Body, frozen=True):
    """`check` (dry run of every row), `start`, `stop`, `approve`, `cancel`."""

    credential: Credential
    plan: int
    step: str


class Plan(Body, frozen=True):
    """A plan and the rows asked for."""

    facts: PlanFacts
    rows: tuple[PlanRow, ...]


class Plans(Body, frozen=True):
    plans: tuple[PlanFacts, ...]
    before: int
