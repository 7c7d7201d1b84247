"""What would come, or came, of an edit, field by field as people read it and as scripts do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.columns.cell import reading, two_readings
from app.columns.decode import full_path, locate
from app.columns.encode import held
from app.columns.errors import NoSuchField
from app.columns.lenses import choose
from app.columns.node import Node, leaves
from app.columns.plan import Plan, plan_raw
from app.maps.changes import part_of
from app.maps.host_names import names_for
from app.maps.opening import OpenMap
from app.uapi.kernel import cpu_stride
from app.wire.edits import ALL_CPUS, NO_CPU, Change, Edit, FieldPlan, Report

ARRAY_ELEMENTS = 64
MAX_LINES = 512
WROTE = frozenset({"done", "replaced", "overtaken", "partial"})
"""Results after which something was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLine:
    """One field that changes."""

    path: str
    cpu: int
    old: str
    """As it was shown, or empty where there was nothing."""
    new: str
    now: str = ""
    """What it holds by now, where that is neither."""
    method: str = ""
    promise: str = ""
    why: str = ""
    result: str = ""
    before: int | bytes | None = None
    after: int | bytes | None = None

    @property
    def where(self) -> str:
        """The path, with its CPU."""
        return self.path + (
            "" if self.cpu == NO_CPU else " on all CPUs" if self.cpu == ALL_CPUS else f" on CPU {self.cpu}"
        )


def lines_of(opened: OpenMap, edit: Edit, report: Report) -> list[FieldLine]:
    """The fields that an edit changes; of whole values those that differ, at most MAX_LINES."""
    if edit.action == "set":
        plans = {(plan.path, plan.cpu): plan for plan in report.fields}
        value = report.after if report.result != "planned" else report.before
        return [_of_change(opened, change, plans.get((change.path, change.cpu)), value) for change in edit.changes]
    if edit.action in {"replace", "create", "push", "delete", "pop"} and opened.schema.layout.value is not None:
        taken = edit.action in {"delete", "pop"}
        before = report.before if report.before is not None else edit.seen
        return list(differences(opened, before, None if taken else edit.value or report.after))
    return []


def differences(opened: OpenMap, old: bytes | None, new: bytes | None) -> Iterator[FieldLine]:
    """Fields of two whole values that are not the same; None: there is no such value."""
    plan = _plan(opened)
    size = opened.facts.value_size
    n_cpus = opened.schema.layout.n_cpus
    lines = 0
    for cpu in range(n_cpus) if n_cpus else (NO_CPU,):
        one, other = (None if value is None else _part(opened, value, cpu) for value in (old, new))
        for leaf in leaves(plan.root, ARRAY_ELEMENTS):
            if any(part is not None and len(part) != size for part in (one, other)) or lines >= MAX_LINES:
                return
            if one is not None and other is not None and held(leaf, one) == held(leaf, other):
                continue
            lens = choose.default(leaf, plan)
            lines += 1
            old_text, new_text = _texts(leaf, lens, one, other)
            yield FieldLine(
                path=full_path("value", leaf.path),
                cpu=cpu,
                old=old_text,
                new=new_text,
                before=None if one is None else held(leaf, one),
                after=None if other is None else held(leaf, other),
            )


def _texts(leaf: Node, lens: str, one: bytes | None, other: bytes | None) -> tuple[str, str]:
    """As people read it; empty where there is nothing."""
    known = names_for(lens)
    if one is not None and other is not None:
        return two_readings(leaf, lens, one, other, known)
    old, new = ("" if data is None else reading(leaf, lens, data, known) for data in (one, other))
    return old, new


def visible_value(opened: OpenMap, value: bytes | None) -> bytes | None:
    """A whole value with zeros for what the policy hides from whoever looks."""
    if value is None or not opened.mask.any():
        return value
    size, mask = opened.facts.value_size, opened.mask
    room = cpu_stride(size) if opened.kind.per_cpu else size
    return bytes(0 if at % room < size and mask[at % room] else byte for at, byte in enumerate(value))


def document(
    opened: OpenMap | None, edit: Edit, report: Report, lines: list[FieldLine], *, dry_run: bool
) -> dict[str, Any]:
    """A report for scripts; without the map (of an undo) as the broker has it."""
    before, after = (
        value if opened is None else visible_value(opened, value) for value in (report.before, report.after)
    )
    return {
        "result": report.result,
        "sentence": report.sentence,
        "audit": report.audit,
        "dry_run": dry_run,
        "map_id": edit.map.id,
        "action": edit.action,
        "key": edit.key.hex(),
        "owner": edit.owner,
        "method": report.method,
        "promise": report.promise,
        "why": report.why,
        "fields": [_field(line) for line in lines],
        "before": None if before is None else before.hex(),
        "after": None if after is None else after.hex(),
        "warnings": list(report.warnings),
        "approvals": report.approvals,
        "plan": report.plan,
        "new_map_id": report.new_map_id,
        "duration_ns": report.duration_ns,
    }


def _field(line: FieldLine) -> dict[str, Any]:
    def exact(value: int | bytes | None) -> int | str | None:
        return f"hex:{value.hex()}" if isinstance(value, bytes) else value

    return {
        "path": line.path,
        "cpu": None if line.cpu == NO_CPU else "all" if line.cpu == ALL_CPUS else line.cpu,
        "old": exact(line.before),
        "new": exact(line.after),
        "old_text": line.old,
        "new_text": line.new,
        "now_text": line.now,
        "method": line.method,
        "result": line.result,
    }


def _of_change(opened: OpenMap, change: Change, plan: FieldPlan | None, value: bytes | None) -> FieldLine:
    line = FieldLine(
        path=change.path, cpu=change.cpu, old=change.old_text, new=change.new_text,
        now=_now(opened, change, value), before=change.expected, after=change.new,
    )  # fmt: skip
    if plan is None:
        return line
    return replace(line, method=plan.method, promise=plan.promise, why=plan.why, result=plan.result)


def _now(opened: OpenMap, change: Change, value: bytes | None) -> str:
    """What a field holds by now as people read it; empty where that is what it held or was to hold, or cannot be told."""
    if value is None or change.cpu == ALL_CPUS:
        return ""
    try:
        node = locate(opened.schema.layout, change.path).node
    except NoSuchField:
        return ""
    data = _part(opened, value, change.cpu)
    if len(data) < node.end_bytes or held(node, data) in (change.expected, change.new):
        return ""
    lens = choose.default(node, _plan(opened))
    return reading(node, lens, data, names_for(lens))


def _part(opened: OpenMap, value: bytes, cpu: int) -> bytes:
    if len(value) == opened.facts.value_size:
        return value
    return part_of(opened, value, cpu)


def _plan(opened: OpenMap) -> Plan:
    return opened.schema.layout.value or plan_raw(opened.facts.value_size)
