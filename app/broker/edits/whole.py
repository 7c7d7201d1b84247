"""Edits of whole values: replaced, created, deleted, pushed, popped; and slots given a thing."""

from __future__ import annotations

from app.broker.edits import kinds, things
from app.broker.edits.act import Act, Ended, Prepared
from app.broker.swap.plan import UNHARMED, Method
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType, BpfUpdateFlag
from app.uapi.errors import (
    AlreadyThere,
    Busy,
    InvalidForKernel,
    KernelError,
    MapFull,
    NoSuchKey,
    NotPermitted,
    NotSupported,
)
from app.uapi.kernel import cpu_stride, stride
from app.uapi.syscall import map_delete, map_lookup, map_lookup_and_delete, map_next_key, map_update
from app.wire.errors import BadField

_COMPARED = "What the entry holds is compared with what was shown a moment before; a program that changes it in the microseconds "
PROMISES = {
    "create": "The kernel makes the entry only if there is none under the key (BPF_NOEXIST): nothing is ever overwritten.",
    "delete": _COMPARED + "between is not noticed.",
    "push": "The kernel puts the value in; nothing in it is overwritten.",
    "pop": "The kernel takes the next value out and shows it: it is gone from the map then.",
    "put": "The slot is given the thing in one step; what it held is replaced, and programs see one or the other.",
}


def full_value(act: Act) -> bytes:
    """The value of the edit as the kernel takes it: of per-CPU maps for each possible CPU. raises BadField"""
    size, given = act.facts.value_size, act.edit.value
    whole = stride(act.facts.type, size)
    if len(given) == whole:
        return given
    if kinds.per_cpu(act.facts) and len(given) == size:
        return given.ljust(cpu_stride(size), b"\0") * possible_cpus()
    raise BadField(f"a value of this map has {size} bytes, not {len(given)}", "value")


def kept_as_is(act: Act, given: bytes, before: bytes) -> bytes:
    """The new value with the kernel's own parts as they were read: it ignores them, and the record should not claim them."""
    value = bytearray(given)
    for kept in act.kept:
        value[kept.offset_bytes : kept.offset_bytes + kept.size_bytes] = before[
            kept.offset_bytes : kept.offset_bytes + kept.size_bytes
        ]
    return bytes(value)


def destroyed(act: Act) -> list[str]:
    """The kernel's own parts that writing the whole value would destroy."""
    return sorted({kept.name for kept in act.kept} - UNHARMED)


def replace(act: Act) -> Prepared:
    """The whole value of an existing entry."""
    given = full_value(act)
    if lost := destroyed(act):
        return _refused(f"writing the whole value would destroy {', '.join(lost)} in it: edit single fields instead")
    locked = any(kept.name == "bpf_spin_lock" for kept in act.kept)
    flags = BpfUpdateFlag.LOCK if locked else BpfUpdateFlag.ANY
    with act.key() as key:
        before = _own(act, key, act.read(key, flags))
    after = None if before is None else kept_as_is(act, given, before)
    method = Method.LOCKED_UPDATE if locked else Method.UPDATE

    def run() -> Ended:
        with act.key() as key:
            found = _own(act, key, act.read(key, flags))
            if found is None:
                return Ended(result="no_entry")
            if act.edit.seen is not None and act.edit.seen != found:
                return Ended(result="conflict", after=found)
            value = kept_as_is(act, given, found)
            try:
                map_update(act.map_fd, key, value, flags | BpfUpdateFlag.EXIST)
            except NoSuchKey:
                return Ended(result="no_entry")
            return _there(act, key, value)

    prepared = Prepared(method=method.name.lower(), promise=method.value, run=run, before=before, after=after)
    prepared.moved = act.edit.seen is not None and before is not None and act.edit.seen != before
    if before is None:
        prepared.warnings.append("There is no such entry now.")
    return prepared


def create(act: Act) -> Prepared:
    """A new entry."""
    value = full_value(act)
    warnings = []
    if kinds.evicts(act.facts):
        warnings.append("An LRU map that is full forgets its oldest entry to make room.")
    with act.key() as key:
        if _own(act, key, act.read(key)) is not None:
            warnings.append("There is an entry under this key already: nothing would be written.")

    def run() -> Ended:
        with act.key() as key:
            try:
                map_update(act.map_fd, key, value, BpfUpdateFlag.NOEXIST)
            except AlreadyThere:
                return Ended(result="conflict", sentence="An entry of this key exists already.", after=act.read(key))
            return _there(act, key, value)

    return Prepared(method="create", promise=PROMISES["create"], run=run, after=value, warnings=warnings)


def delete(act: Act) -> Prepared:
    """One entry, or what a slot holds."""
    warnings = []
    if act.kept and (lost := destroyed(act)):
        warnings.append(f"What the kernel keeps in the value goes with it: {', '.join(lost)}.")
    if act.facts.type in kinds.THINGS or act.facts.type == BpfMapType.PERF_EVENT_ARRAY:
        warnings.append("Programs find nothing in this slot from then on.")
    with act.key() as key:
        before = _own(act, key, act.read(key))

    def run() -> Ended:
        with act.key() as key:
            found = _own(act, key, act.read(key))
            readable = act.facts.type not in _UNREADABLE
            if readable and found is None:
                return Ended(result="no_entry")
            if act.edit.seen is not None and found is not None and act.edit.seen != found:
                return Ended(result="conflict", after=found)
            try:
                gone = map_delete(act.map_fd, key)
            except InvalidForKernel:  # an empty slot of a socket map
                gone = False
            if not gone:
                return Ended(result="no_entry")
            back = _own(act, key, act.read(key)) if readable else None
            return Ended(result="done" if back is None else "overtaken", after=back)

    prepared = Prepared(method="delete", promise=PROMISES["delete"], run=run, before=before, warnings=warnings)
    prepared.moved = act.edit.seen is not None and before is not None and act.edit.seen != before
    if before is None and act.facts.type not in _UNREADABLE:
        prepared.warnings.append("There is no such entry now.")
    prepared.detail = things.thing_of(act.facts, before) if before and act.facts.type in kinds.THINGS else ""
    return prepared


_UNREADABLE = frozenset({BpfMapType.PERF_EVENT_ARRAY, BpfMapType.CGROUP_ARRAY, BpfMapType.XSKMAP})
"""Slots that nobody can look into: only deleting them tells whether they held something."""


def push(act: Act) -> Prepared:
    """Into a queue, a stack or a bloom filter."""
    if len(act.edit.value) != act.facts.value_size:
        raise BadField(f"a value of this map has {act.facts.value_size} bytes, not {len(act.edit.value)}", "value")
    warnings = []
    if act.facts.type == BpfMapType.BLOOM_FILTER:
        warnings.append("What was put into a bloom filter can never be taken out again.")

    def run() -> Ended:
        map_update(act.map_fd, None, act.edit.value)
        if act.facts.type == BpfMapType.BLOOM_FILTER:
            there = map_lookup(act.map_fd, None, bytearray(act.edit.value))
            return Ended(result="done" if there else "overtaken", after=act.edit.value)
        return Ended(result="done", sentence="Its consumer may have taken it already.", after=act.edit.value)

    return Prepared(method="push", promise=PROMISES["push"], run=run, after=act.edit.value, warnings=warnings)


def pop(act: Act) -> Prepared:
    """Take the next one out."""
    before = act.read(None)

    def run() -> Ended:
        if act.edit.seen is not None and act.read(None) != act.edit.seen:
            return Ended(result="conflict", after=act.read(None))
        value = bytearray(act.facts.value_size)
        if not map_lookup_and_delete(act.map_fd, None, value):
            return Ended(result="no_entry")
        return Ended(result="done", sentence="What was taken out stands in the record.", after=bytes(value))

    warnings = ["Who should have taken it next never sees it."] + ([] if before else ["It is empty now."])
    return Prepared(method="pop", promise=PROMISES["pop"], run=run, before=before, warnings=warnings)


def put(act: Act) -> Prepared:
    """Give a slot its thing."""
    with act.key() as key, things.value_of(act.facts, act.edit.thing, act.bpffs):
        before = act.read(key)
    held = things.thing_of(act.facts, before) if before else ""

    def run() -> Ended:
        with act.key() as key, things.value_of(act.facts, act.edit.thing, act.bpffs) as value:
            found = act.read(key)
            if act.edit.seen is not None and (found or b"") != act.edit.seen:
                return Ended(result="conflict", after=found)
            map_update(act.map_fd, key, value)
            back = act.read(key)
        if act.facts.type in _UNREADABLE:
            return Ended(
                result="done", sentence="The kernel shows nobody what this slot holds, so it was not read again."
            )
        if back is None and act.facts.value_size > 4:  # noqa: PLR2004  (socket maps with 4-byte values keep no cookie)
            return Ended(result="replaced", after=back)
        if back is not None and not things.same(act.facts, act.edit.thing, things.thing_of(act.facts, back)):
            return Ended(result="overtaken", after=back)
        return Ended(result="done", after=back)

    prepared = Prepared(method="put", promise=PROMISES["put"], run=run, before=before)
    prepared.detail = f"{held or 'nothing'} → {act.edit.thing}"
    prepared.moved = act.edit.seen is not None and (before or b"") != act.edit.seen
    return prepared


def _own(act: Act, key: bytes, value: bytes | None) -> bytes | None:
    """A trie's value only if it is the key's own: the longest prefix that fits may be a shorter one."""
    if value is None or act.facts.type != BpfMapType.LPM_TRIE or _in_trie(act.map_fd, key):
        return value
    return None


def _in_trie(map_fd: int, key: bytes) -> bool:
    """Whether just this prefix has an entry: asked for the key behind one that it lacks, a trie answers with its first.

    Behind one that it has comes never the first, and nothing behind the last. Updates with BPF_EXIST and deletions are
    exact by themselves, so that a change between the two questions misleads nobody but the preview.
    source  kernel/bpf/lpm_trie.c, trie_get_next_key
    """
    first, behind = bytearray(len(key)), bytearray(len(key))
    if not map_next_key(map_fd, None, first):
        return False
    return not map_next_key(map_fd, key, behind) or behind != first


def _there(act: Act, key: bytes, value: bytes) -> Ended:
    back = _own(act, key, act.read(key))
    if back is None:
        return Ended(result="replaced", after=None)
    return Ended(result="done" if kept_as_is(act, value, back) == back else "overtaken", after=back)


def _refused(why: str) -> Prepared:
    return Prepared(
        method="refused", promise=Method.REFUSED.value, why=why, run=lambda: Ended(result="refused", sentence=why)
    )


def refusal_of(error: KernelError) -> str:
    """What the kernel's no means here, in one sentence that says what to do."""
    match error:
        case MapFull():
            return "The map is full: delete an entry first, or look for one that is no longer needed."
        case Busy():
            return (
                "The kernel says that it is in use (EBUSY): somebody has it mapped, or the socket is in a slot already."
            )
        case NotPermitted():
            return "The kernel does not permit it (EPERM): the map is frozen, or the broker lacks a right."
        case NotSupported():
            return "This map type has no such operation."
        case _:
            return f"{str(error)[:1].upper()}{str(error)[1:]}."
