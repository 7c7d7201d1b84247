"""The fields of one entry as a form: what each input is, what it begins with, what was typed, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import request

from app.columns.decode import full_path
from app.columns.encode import encode, in_group
from app.columns.errors import BadValue
from app.columns.inputs import Input, edit_text, input_of
from app.columns.lenses import choose
from app.columns.lenses.show import printable
from app.columns.node import Node, leaves
from app.columns.plan import Plan, plan_raw
from app.maps.changes import as_number, part_of
from app.maps.edit import identity_of
from app.maps.opening import OpenMap
from app.uapi.kernel import stride
from app.web.problems import BadArgument
from app.web.words import FILLER
from app.wire.edits import ALL_CPUS, NO_CPU
from app.wire.errors import MapChanged
from app.wire.records import MapIdentity

ARRAY_ELEMENTS = 64
MAX_FIELDS = 512
SEEN_BYTES = 1 << 18
"""Of a larger value a form does not carry what was seen: its fields are compared, not the whole."""
MAX_REASON = 1000
MAX_OWNER = 4200
MAX_CPU_DIGITS = 5
PREFIX = "f:"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One input, or one thing that is shown and kept."""

    path: str
    label: str
    id: str
    input: Input
    text: str
    """What stands in the input now."""
    initial: str
    """What the entry held when it was shown, as an input begins with it."""
    place: str
    problem: str = ""
    prefix: str = PREFIX

    @property
    def name(self) -> str:
        """Of the input."""
        return self.prefix + self.path

    @property
    def is_changed(self) -> bool:
        """Something else was typed."""
        return self.input.kind != "readonly" and self.text != self.initial

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """Of a select, with what stands there now even if no name says so."""
        known = self.input.options
        missing = [
            text for text in dict.fromkeys((self.text, self.initial)) if text not in {value for value, _ in known}
        ]
        return (*known, *((text, f"{printable(text)} (no name)") for text in missing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the form says that it was made from."""

    identity: MapIdentity
    seen: bytes | None
    cpu: int
    owner: str


def fields_of(
    opened: OpenMap,
    seen: bytes,
    cpu: int,
    typed: Mapping[str, str],
    problems: Mapping[str, str],
    *,
    empty: bool = False,
) -> list[FormField]:
    """Every field and hole of a value, in order.

    typed     text by path, where somebody typed
    problems  sentence by path
    empty     nothing is there yet: fields begin with what zeros look like
    """
    plan = plan_of(opened)
    found = []
    for number, leaf in enumerate([*leaves(plan.root, ARRAY_ELEMENTS)][:MAX_FIELDS]):
        path = full_path("value", leaf.path)
        lens = choose.default(leaf, plan)
        of = _input(leaf, lens)
        initial = _initial(opened, leaf, seen, cpu, lens)
        found.append((leaf.offset_bits, FormField(
            path=path, label=leaf.path or "value", id=f"field-{number}", input=of,
            text=typed.get(path, initial) if of.kind != "readonly" else initial, initial=initial,
            place=f"byte {leaf.offset_bytes}", problem=_problem(path, problems),
        )))  # fmt: skip
    if not empty:
        found += [(start * 8, _padding(start, end)) for start, end in (plan.padding if plan.typed else ())]
    return [field for _, field in sorted(found, key=lambda each: each[0])]


def typed_fields() -> dict[str, str]:
    """What the request's form has typed, by path."""
    found = {}
    for name in request.form:
        if name.startswith(PREFIX):
            # A checkbox that is off sends nothing: the hidden "false" before it speaks for it.
            found[name.removeprefix(PREFIX)] = request.form.getlist(name)[-1].replace("\r\n", "\n")
    return found


def typed_thing() -> str:
    """What a slot is to hold: typed, or chosen from the list."""
    return request.form.get("other", "").strip() or request.form.get("thing", "").strip()


def check(opened: OpenMap, changed: Mapping[str, str]) -> dict[str, str]:
    """A sentence for each field whose text is none of its values."""
    plan = plan_of(opened)
    problems = {}
    for path, text in changed.items():
        node = as_number(plan.find(path.removeprefix("value").removeprefix(".")), text)
        try:
            encode(in_group(node, "value"), text, choose.default(node, plan))
        except BadValue as bad:
            problems[path] = str(bad)
    return problems


def plan_of(opened: OpenMap) -> Plan:
    """The layout of a value."""
    return opened.schema.layout.value or plan_raw(opened.facts.value_size)


# ---- what a form carries from one step to the next ----------------------------------------------------------------------


def carried(opened: OpenMap, seen: bytes | None, cpu: int, owner: str = "") -> list[tuple[str, str]]:
    """Hidden inputs that say what was shown: which map it was, and what the entry held."""
    kept = [("identity", msgspec.json.encode(identity_of(opened.facts)).decode())]
    if seen is not None and len(seen) <= SEEN_BYTES:
        kept.append(("seen", seen.hex()))
    if cpu != NO_CPU:
        kept.append(("cpu", cpu_text(cpu)))
    if owner:
        kept.append(("owner", owner))
    return kept


def read_shown(opened: OpenMap) -> Shown:
    """What the form that came in was made from.

    raises  BadArgument, MapChanged where the id is another map's by now
    """
    try:
        identity = msgspec.json.decode(request.form.get("identity", ""), type=MapIdentity)
    except msgspec.DecodeError:
        raise BadArgument("identity", request.form.get("identity", ""), "what the form had") from None
    if identity != identity_of(opened.facts):
        raise MapChanged(
            f"map {identity.id} is another one by now than the one shown: nothing was written; open it again"
        )
    text = request.form.get("seen")
    seen = None
    if text is not None:
        try:
            seen = bytes.fromhex(text)
        except ValueError:
            raise BadArgument("seen", text, "what the form had") from None
        if len(seen) not in {0, stride(opened.facts.type, opened.facts.value_size)}:
            raise BadArgument("seen", text, "what the form had")
    return Shown(
        identity=identity, seen=seen, cpu=read_cpu(opened, request.form.get("cpu")), owner=owner_of(request.form)
    )


def read_cpu(opened: OpenMap, text: str | None) -> int:
    """Which CPU a form or an address is about; of maps with one value none. raises BadArgument"""
    n_cpus = opened.schema.layout.n_cpus
    if not n_cpus:
        return NO_CPU
    if text == "all":
        return ALL_CPUS
    text = text or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_CPU_DIGITS and int(text) < n_cpus):
        raise BadArgument("cpu", text, f"a CPU from 0 to {n_cpus - 1}, or all")
    return int(text)


def cpu_text(cpu: int) -> str:
    """As addresses and forms have it."""
    return "all" if cpu == ALL_CPUS else str(cpu)


def owner_of(arguments: Mapping[str, Any]) -> str:
    """Of an element without a key. raises BadArgument"""
    text = str(arguments.get("owner", "")).strip()
    if len(text) > MAX_OWNER or not text.isprintable():
        raise BadArgument("owner", text, "a task, cgroup, file or socket")
    return text


def reason_of() -> str:
    """Why, as it was typed."""
    return request.form.get("reason", "").strip()[: MAX_REASON + 1]


def _input(node: Node, lens: str) -> Input:
    name = node.path.rsplit(".", 1)[-1]
    of = input_of(node, lens)
    if of.kind != "readonly" and name and FILLER.fullmatch(name):
        return Input(kind="readonly", hint=of.hint, note="reserved: kept as it is")
    return of


def _initial(opened: OpenMap, node: Node, seen: bytes, cpu: int, lens: str) -> str:
    if cpu != ALL_CPUS:
        return edit_text(node, part_of(opened, seen, cpu), lens)
    texts = {edit_text(node, part_of(opened, seen, each), lens) for each in range(opened.schema.layout.n_cpus)}
    return texts.pop() if len(texts) == 1 else ""


def _padding(start: int, end: int) -> FormField:
    size = end - start
    return FormField(
        path=f"padding:{start}", label="padding", id=f"padding-{start}",
        input=Input(kind="readonly", hint=f"{size} {'byte' if size == 1 else 'bytes'}", note="kept as it is"),
        text="", initial="", place=f"byte {start}",
    )  # fmt: skip


def _problem(path: str, problems: Mapping[str, str]) -> str:
    """What is wrong with a field, or with a part of it: ``value.mac[5]`` is told at ``value.mac``."""
    return next((told for where, told in problems.items() if _is_within(where, path)), "")


def _is_within(where: str, path: str) -> bool:
    return where == path or where.startswith((path + ".", path + "["))


def unplaced(problems: Mapping[str, str], fields: list[FormField]) -> Iterator[str]:
    """Sentences that no input of the form can be blamed for."""
    for where, told in problems.items():
        if where not in {"reason", "key", "thing", "owner", "path"} and not any(
            _is_within(where, field.path) for field in fields
        ):
            yield told
