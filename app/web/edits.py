"""Edit pages: a form, what would come of it, and the doing. One existing entry here; new ones and whole maps in the siblings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, request

from app.columns.errors import ColumnsError
from app.maps import actions, edit
from app.maps.errors import CannotEdit, NoSuchEntry, NothingToChange
from app.maps.opening import OpenMap
from app.web import arguments, creating, managing
from app.web.backend import Backend
from app.web.edit_flow import Sheet, after, do, look, open_shown, show
from app.web.edit_form import (
    FormField,
    carried,
    check,
    cpu_text,
    fields_of,
    owner_of,
    read_cpu,
    read_shown,
    reason_of,
    typed_fields,
    typed_thing,
)
from app.web.entry_page import key_bytes
from app.web.key_words import key_words
from app.web.opening import open_map
from app.wire.edits import NO_CPU, Edit

BY_OWNER = "-"
"""Stands for the key in addresses of elements that belong to an owner."""


def blueprint(backend: Backend) -> Blueprint:
    """Everything below /maps that changes something."""
    bp = Blueprint("edits", __name__)

    @bp.get("/maps/<map_id>/entries/<key_hex>/edit")
    def form(map_id: str, key_hex: str) -> Response:
        with open_map(backend.client, backend.btfs, arguments.map_id(map_id)) as opened:
            if request.form:  # come back to after signing in
                return _again(opened, key_hex)
            cpu = read_cpu(opened, request.args.get("cpu"))
            entry = Entry(opened, key_hex, owner_of(request.args), cpu)
            return entry.respond(entry.sheet(), entry.read(), {})

    @bp.post("/maps/<map_id>/entries/<key_hex>/edit/preview")
    def preview(map_id: str, key_hex: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _step(backend, opened, key_hex, apply=False)

    @bp.post("/maps/<map_id>/entries/<key_hex>/edit")
    def apply(map_id: str, key_hex: str) -> Response:
        with open_shown(backend, map_id) as opened:
            return _step(backend, opened, key_hex, apply=True)

    @bp.get("/maps/<map_id>/entries/<key_hex>/delete")
    def delete_form(map_id: str, key_hex: str) -> Response:
        with open_map(backend.client, backend.btfs, arguments.map_id(map_id)) as opened:
            entry = Entry(opened, key_hex, owner_of(request.args), NO_CPU)
            return _delete_page(backend, entry, entry.delete_sheet())

    @bp.post("/maps/<map_id>/entries/<key_hex>/delete")
    def delete(map_id: str, key_hex: str) -> Response:
        with open_shown(backend, map_id) as opened:
            shown = read_shown(opened)
            entry = Entry(opened, key_hex, shown.owner, NO_CPU)
            sheet = entry.delete_sheet()
            wanted = edit.delete_entry(opened, entry.key, entry.whole(shown.seen), owner=entry.owner)
            report = do(backend, opened, wanted, sheet)
            if report is not None:
                return after(opened, wanted, report)
            return _delete_page(backend, entry, sheet)

    creating.add(bp, backend)
    managing.add(bp, backend)
    return bp


@dataclass(slots=True)
class Entry:
    """One entry whose form is asked for."""

    opened: OpenMap
    key_hex: str
    owner: str
    cpu: int

    @property
    def key(self) -> bytes:
        """Empty for an element that belongs to an owner. raises BadArgument"""
        return b"" if self.owner and self.key_hex == BY_OWNER else key_bytes(self.opened, self.key_hex)

    @property
    def path(self) -> str:
        """Of its page; of the map's where it has none."""
        here = f"/maps/{self.opened.facts.id}"
        return here if self.owner else f"{here}/entries/{self.key_hex}"

    @property
    def is_slot(self) -> bool:
        """It is given by name."""
        return actions.is_slot(self.opened.kind)

    def read(self) -> bytes:
        """What it holds now. raises NoSuchEntry, but for slots, which may be empty"""
        seen = edit.read_entry(self.opened, self.key, self.owner)
        if seen is None and not self.is_slot:
            raise NoSuchEntry(self.owner or f"hex:{self.key_hex}", self.opened.facts.id)
        return b"" if seen is None else seen

    def whole(self, seen: bytes | None) -> bytes | None:
        """What was seen, where all of it was: what the policy hides cannot be compared."""
        return None if self.opened.mask.any() or (seen == b"" and not self.is_slot) else seen

    def sheet(self) -> Sheet:
        """The form's frame."""
        edit_path = f"/maps/{self.opened.facts.id}/entries/{self.key_hex}/edit"
        return Sheet(
            title=f"{'Fill' if self.is_slot else 'Edit'} one {'slot' if self.is_slot else 'entry'} of {self._map_name()}",
            subtitle=self.owner or key_words(self.opened, self.key), body="edits/_slot.html" if self.is_slot else "edits/_fields.html",
            back=self.path, preview_path=f"{edit_path}/preview", apply_path=edit_path, reason=reason_of(),
        )  # fmt: skip

    def delete_sheet(self) -> Sheet:
        """Of its end."""
        path = f"/maps/{self.opened.facts.id}/entries/{self.key_hex}/delete"
        return Sheet(
            title=f"{'Empty one slot' if self.is_slot else 'Delete one entry'} of {self._map_name()}",
            subtitle=self.owner or key_words(self.opened, self.key), body="", back=self.path,
            preview_path="", apply_path=path, reason=reason_of(), only_preview=True, danger=True,
        )  # fmt: skip

    def respond(self, sheet: Sheet, seen: bytes | None, typed: Mapping[str, str]) -> Response:
        """The form over what it holds."""
        opened = self.opened
        sheet.hidden = carried(opened, seen, self.cpu, self.owner)
        if self.is_slot:
            form = actions.thing_form(opened.client, opened.kind, opened.facts.value_size)
            return show(opened, sheet, slot=form, thing=typed.get("thing", ""), held=_held(opened, seen or b""))
        fields = fields_of(opened, seen or bytes(opened.reader.value_stride), self.cpu, typed, sheet.problems)
        _blame(sheet, fields)
        return show(opened, sheet, fields=fields, cpus=self._cpus())

    def _cpus(self) -> list[tuple[str, str, bool]]:
        """(label, address, is this one) of the CPUs to choose from; empty where there is one value."""
        n_cpus = self.opened.schema.layout.n_cpus
        if not n_cpus:
            return []
        here = f"/maps/{self.opened.facts.id}/entries/{self.key_hex}/edit?cpu="
        each = [*((f"CPU {cpu}", str(cpu)) for cpu in range(n_cpus)), ("every CPU", "all")]
        return [(label, here + text, text == cpu_text(self.cpu)) for label, text in each]

    def _map_name(self) -> str:
        return self.opened.facts.name or f"map #{self.opened.facts.id}"


def _step(backend: Backend, opened: OpenMap, key_hex: str, *, apply: bool) -> Response:
    """A form that came in: looked at, or done."""
    shown = read_shown(opened)
    entry = Entry(opened, key_hex, shown.owner, shown.cpu)
    sheet = entry.sheet()
    kept = shown.seen is not None and (entry.is_slot or shown.seen != b"")
    seen = shown.seen if kept and shown.seen is not None else entry.read()
    typed, wanted = _wanted(entry, sheet, seen)
    if request.form.get("rebase"):  # begin again from what is there now, with what was typed
        return entry.respond(sheet, entry.read(), typed)
    if wanted is None:
        return entry.respond(sheet, seen, typed)
    if apply:
        report = do(backend, opened, wanted, sheet)
        if report is not None:
            return after(opened, wanted, report)
        if sheet.moved:
            return entry.respond(sheet, edit.read_entry(opened, entry.key, entry.owner) or seen, typed)
        if sheet.status is not HTTPStatus.CONFLICT or sheet.flash == "":
            return entry.respond(sheet, seen, typed)
    look(backend, opened, wanted, sheet)
    return entry.respond(sheet, seen, typed)


def _again(opened: OpenMap, key_hex: str) -> Response:
    """The form over what the entry holds now, with what was typed into it before. raises MapChanged"""
    shown = read_shown(opened)
    entry = Entry(opened, key_hex, shown.owner, shown.cpu)
    now = entry.read()
    if entry.is_slot:
        return entry.respond(entry.sheet(), now, {"thing": typed_thing()})
    fields = fields_of(opened, now if shown.seen is None else shown.seen, entry.cpu, typed_fields(), {})
    return entry.respond(entry.sheet(), now, {field.path: field.text for field in fields if field.is_changed})


def _wanted(entry: Entry, sheet: Sheet, seen: bytes) -> tuple[dict[str, str], Edit | None]:
    """What was changed in the form, and the edit that it makes; None: the sheet says what is wrong."""
    opened = entry.opened
    if entry.is_slot:
        thing = typed_thing()
        try:
            return {"thing": thing}, actions.put_thing(opened, entry.key, thing, entry.whole(seen))
        except CannotEdit as problem:
            sheet.problems["thing"], sheet.status = str(problem), HTTPStatus.UNPROCESSABLE_ENTITY
            return {"thing": thing}, None
    fields = fields_of(opened, seen, entry.cpu, typed_fields(), {})
    changed = {field.path: field.text for field in fields if field.is_changed}
    sheet.problems |= check(opened, changed)
    try:
        if not sheet.problems:
            if not changed:
                raise NothingToChange
            return changed, edit.set_fields(opened, entry.key, changed, seen, cpu=entry.cpu, owner=entry.owner)
    except NothingToChange:
        sheet.flash = "Nothing would change: every field holds that already. Type something else into one of them."
    except (ColumnsError, CannotEdit) as problem:
        sheet.problems[getattr(problem, "path", "") or "value"] = str(problem)
    sheet.status = HTTPStatus.UNPROCESSABLE_ENTITY
    return changed, None


def _blame(sheet: Sheet, fields: list[FormField]) -> None:
    """Say at the head of the form what no input can say."""
    from app.web.edit_form import unplaced

    told = [*unplaced(sheet.problems, fields)]
    if told:
        sheet.flash = " ".join([*([sheet.flash] if sheet.flash else []), *told])


def _delete_page(backend: Backend, entry: Entry, sheet: Sheet) -> Response:
    seen = edit.read_entry(entry.opened, entry.key, entry.owner)
    sheet.hidden = carried(entry.opened, seen, NO_CPU, entry.owner)
    wanted = edit.delete_entry(entry.opened, entry.key, entry.whole(seen), owner=entry.owner)
    status, flash = sheet.status, sheet.flash
    look(backend, entry.opened, wanted, sheet)
    if status is not HTTPStatus.OK:
        sheet.status, sheet.flash = status, flash
    return show(entry.opened, sheet)


def _held(opened: OpenMap, seen: bytes) -> str:
    """What a slot holds, as people read it; empty when nothing does."""
    from app.maps.report import differences

    if not seen or opened.schema.layout.value is None:
        return ""
    return ", ".join(f"{line.path.removeprefix('value.')} {line.old}" for line in differences(opened, seen, None))
