"""The text of a policy file to a Policy; each error is one sentence that names the file and the line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from app.broker.accounts.actor import ROLES
from app.broker.errors import BrokerError
from app.broker.policy.lines import Table, tables
from app.broker.policy.rules import ANY, DEFAULT_ACTIONS, Bounds, Policy, Redaction, Rule, Which
from app.wire.edits import ACTIONS

VERSION = 1
RULE_ROLES = ("editor", "admin", "nobody")
_WHICH = ("maps", "pins", "types")
RULE_KEYS = (*_WHICH, "fields", "actions", "role", "min", "max", "values", "per_minute", "approvals", "note")
REDACT_KEYS = (*_WHICH, "fields", "audit", "hide_from")
_AT = re.compile(r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)
_PATH = re.compile(r"value(\.[^.\[\]]+|\[[0-9*?]+\])*")
_MOST_PATTERN = 300
_SHOWN = 60
_INTEGERS = (-(1 << 63), (1 << 64) - 1)


class PolicyError(BrokerError):
    """A policy that cannot be used."""

    def __init__(self, name: str, line: int, what: str) -> None:
        super().__init__(f"{name} line {line}: {what}")
        self.line = line


def parse(text: str, name: str = "policy.toml") -> Policy:
    """Read a policy. `name` is what errors call it. raises PolicyError"""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise _syntax(name, text, str(problem)) from None
    except ValueError:  # an integer of more digits than Python reads
        raise PolicyError(name, 1, "a number in it has thousands of digits") from None
    except RecursionError:
        raise PolicyError(name, 1, "it is nested too deeply") from None
    found = tables(text)
    for table in found[1:]:
        found[0].keys.setdefault(table.name.split(".")[0], table.line)
    top = _Section(name, found[0], document)
    top.only("version", "rule", "redact")
    if "version" not in document:
        raise PolicyError(name, 1, f"`version = {VERSION}` is missing")
    if document["version"] != VERSION or isinstance(document["version"], bool):
        raise top.error("version", f"{document['version']!r} is no version that this release knows; {VERSION} is")
    return Policy(
        rules=tuple(_rule(section, number) for number, section in enumerate(_sections(top, found, "rule"), 1)),
        redact=tuple(_redaction(section) for section in _sections(top, found, "redact")),
        path=name,
    )


def _syntax(name: str, text: str, message: str) -> PolicyError:
    at = _AT.match(message)
    if at is None:
        return PolicyError(name, 1, message)
    line = int(at["line"]) if at["line"] else max(1, len(text.splitlines()))
    column = f" at column {at['column']}" if at["column"] else " at the end"
    return PolicyError(name, line, f"no TOML{column}: {at['what'][:1].lower()}{at['what'][1:]}")


@dataclass(frozen=True, slots=True)
class _Section:
    """A table of the file with the lines of its keys."""

    name: str
    table: Table
    given: dict[str, Any]

    def error(self, key: str, what: str) -> PolicyError:
        return PolicyError(self.name, self.table.keys.get(key, self.table.line), f"`{key}`: {what}")

    def only(self, *known: str) -> None:
        for key in self.given:
            if key not in known:
                raise self.error(key, f"there is no such key here; these are known: {', '.join(known)}")

    def texts(self, key: str, *, of: tuple[str, ...] = ()) -> tuple[str, ...]:
        if key not in self.given:
            return ()
        given = self.given[key]
        if not isinstance(given, list) or not given or not all(isinstance(each, str) and each for each in given):
            raise self.error(
                key, f'a list of texts is wanted, such as ["{of[0] if of else "flows*"}"], {_shown(given)} was found'
            )
        for each in given:
            if of and each not in of:
                raise self.error(key, f"{each!r} is none of {', '.join(of)}")
            if len(each) > _MOST_PATTERN:
                raise self.error(key, f"a pattern of {len(each)} characters is too long, {_MOST_PATTERN} are the most")
        return tuple(given)

    def paths(self) -> tuple[str, ...]:
        found = self.texts("fields")
        for each in found:
            if not _PATH.fullmatch(each):
                raise self.error(
                    "fields", f"{each!r} is no part of a value: begin it with `value`, such as `value.limit`"
                )
        return found

    def number(self, key: str, least: int, most: int) -> int | None:
        if key not in self.given:
            return None
        given = self.given[key]
        if not isinstance(given, int) or isinstance(given, bool):
            raise self.error(key, f"a whole number is wanted, {_shown(given)} was found")
        if not least <= given <= most:
            raise self.error(key, f"{given} is not from {least} to {most}")
        return given

    def one_of(self, key: str, of: tuple[str, ...], default: str) -> str:
        given = self.given.get(key, default)
        if given not in of or not isinstance(given, str):
            raise self.error(key, f"{_shown(given)} is none of {', '.join(of)}")
        return given


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _sections(top: _Section, found: list[Table], name: str) -> list[_Section]:
    given = top.given.get(name, [])
    headers = [table for table in found if table.name == name]
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        line = headers[0].line if headers else top.table.keys.get(name, 1)
        raise PolicyError(top.name, line, f"`{name}` is a list of tables: write [[{name}]]")
    # Tables that are written in line, or beneath one of these, have the line of what they are in.
    inline = Table(name, top.table.keys.get(name, 1))
    return [
        _Section(top.name, headers[index] if index < len(headers) else inline, each) for index, each in enumerate(given)
    ]


def _which(section: _Section) -> Which:
    return Which(maps=section.texts("maps"), pins=section.texts("pins"), types=section.texts("types"))


def _rule(section: _Section, number: int) -> Rule:
    section.only(*RULE_KEYS)
    note = section.given.get("note", "")
    if not isinstance(note, str) or not (note.isprintable() or not note):
        raise section.error("note", f"one line of text is wanted, {_shown(note)} was found")
    actions = frozenset(section.texts("actions", of=ACTIONS)) or DEFAULT_ACTIONS
    fields = section.paths()
    bounds = _bounds(section)
    if not bounds.free and not fields:
        key = next(key for key in ("min", "max", "values") if key in section.given)
        raise section.error(key, "a limit is for fields: say `fields`, too")
    return Rule(
        number=number,
        line=section.table.line,
        which=_which(section),
        fields=fields,
        actions=actions,
        role=section.one_of("role", RULE_ROLES, "editor"),
        bounds=bounds,
        per_minute=section.number("per_minute", 1, 1_000_000) or 0,
        approvals=section.number("approvals", 0, 2) or 0,
        note=note,
    )


def _bounds(section: _Section) -> Bounds:
    least, most = section.number("min", *_INTEGERS), section.number("max", *_INTEGERS)
    if least is not None and most is not None and least > most:
        raise section.error("max", f"{most} is below `min`, which is {least}")
    if "values" not in section.given:
        return Bounds(minimum=least, maximum=most) if least is not None or most is not None else ANY
    values = section.given["values"]
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(each, int) and not isinstance(each, bool) for each in values)
    ):
        raise section.error("values", f"a list of whole numbers is wanted, {_shown(values)} was found")
    return Bounds(minimum=least, maximum=most, values=frozenset(values))


def _redaction(section: _Section) -> Redaction:
    section.only(*REDACT_KEYS)
    audit = section.given.get("audit", True)
    if not isinstance(audit, bool):
        raise section.error("audit", f"true or false is wanted, {_shown(audit)} was found")
    hide_from = frozenset(section.texts("hide_from", of=ROLES))
    if not audit and not hide_from:
        raise PolicyError(
            section.name, section.table.line, "this [[redact]] does nothing: `audit = true`, or say `hide_from`"
        )
    if not audit and (readers := sorted(hide_from - {"viewer"})):
        raise section.error(
            "audit", f"the log is read by {' and '.join(readers)}: what is hidden from them cannot stay in it"
        )
    return Redaction(which=_which(section), fields=section.paths(), audit=audit, hide_from=hide_from)
