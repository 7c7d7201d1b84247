"""Which maps are recorded, how often, and up to which size: rules in TOML, by name, pin and type.

    [[rule]]
    maps = ["cilium_lb4_*"]      # names, as a shell's patterns; pins and types likewise
    every = "5m"                 # or "never"
    entries = 1_000_000          # record it up to this size

The first rule that matches decides; what it does not say is as without rules. They are in a file of the data directory, or
else in the history itself, where the page What is recorded puts them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.recorder.errors import BadRules
from app.settings import Settings
from app.wire.patterns import matches_any

NEVER_S = float("inf")
LEAST_S = 1.0
_EVERY = re.compile(r"([1-9][0-9]{0,5})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_KNOWN = {"maps", "pins", "types", "every", "entries"}
PAGE = "the page What is recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How one map is recorded."""

    interval_s: float
    """NEVER_S: not at all."""
    entries: int
    by: str = ""
    """Which rule says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[rule]]`; kinds that are not given match any map."""

    number: int
    maps: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    interval_s: float | None = None
    entries: int | None = None

    def matches(self, name: str, pins: Sequence[str], kind: str) -> bool:
        """Whether a map is meant; of several pins one is enough."""
        return (
            (not self.maps or matches_any(self.maps, name))
            and (not self.pins or any(matches_any(self.pins, pin) for pin in pins))
            and (not self.types or matches_any(self.types, kind))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All of them, and what holds without."""

    default: Pace
    rules: tuple[Rule, ...] = ()
    told: str = "no rules: every map"
    """Where they are from, or what is wrong with them."""
    text: str = ""
    source: str = ""
    """`file`, `page`, or empty where there are none."""

    def pace(self, name: str, pins: Sequence[str], kind: str) -> Pace:
        """How a map is recorded."""
        for rule in self.rules:
            if rule.matches(name, pins, kind):
                return Pace(
                    interval_s=self.default.interval_s if rule.interval_s is None else rule.interval_s,
                    entries=self.default.entries if rule.entries is None else rule.entries,
                    by=f"rule {rule.number}",
                )
        return self.default


def load(settings: Settings, noted: bytes | None = None) -> Rules:
    """The rules of a data directory's file, or else those noted in the history.

    With a mistake in them: what holds without, and the mistake told.
    """
    path = settings.within(settings.record_rules)
    try:
        text = path.read_text()
    except FileNotFoundError:
        if not noted:
            return Rules(default=default(settings))
        return _of(settings, noted.decode("utf-8", "replace"), PAGE, "page")
    except (OSError, UnicodeDecodeError) as problem:
        return Rules(default=default(settings), told=str(BadRules(path, str(problem))), source="file")
    return _of(settings, text, path, "file")


def note_of(host: str) -> str:
    """Name of the note in the history that holds the page's; several hosts may share one history."""
    return f"rules of {host}"


def default(settings: Settings) -> Pace:
    """What holds without a rule."""
    return Pace(interval_s=float(max(settings.record_seconds, 1)), entries=settings.record_entries)


def _of(settings: Settings, text: str, where: Path | str, source: str) -> Rules:
    try:
        rules = parse(text, where)
    except BadRules as problem:
        return Rules(default=default(settings), told=str(problem), text=text, source=source)
    count = f"{len(rules)} rule{'' if len(rules) == 1 else 's'}"
    return Rules(default=default(settings), rules=rules, told=f"{count} of {where}", text=text, source=source)


def parse(text: str, path: Path | str) -> tuple[Rule, ...]:
    """Rules out of TOML. raises BadRules"""
    try:
        document = tomllib.loads(text)
    except ValueError as problem:  # TOMLDecodeError, or of Python's own: a number of more than 4,300 digits
        raise BadRules(path, str(problem).partition(";")[0]) from problem
    except RecursionError as problem:
        raise BadRules(path, "it is nested too deeply") from problem
    if unknown := sorted(set(document) - {"rule"}):
        raise BadRules(path, f"{unknown[0]} is nothing that it may say: [[rule]] is")
    given = document.get("rule", [])
    if not isinstance(given, list):
        raise BadRules(path, "rules are written as [[rule]]")
    return tuple(_rule(number, each, path) for number, each in enumerate(given, 1))


def _rule(number: int, given: Any, path: Path | str) -> Rule:
    where = f"rule {number}"
    if not isinstance(given, dict):
        raise BadRules(path, f"{where} is no table")
    if unknown := sorted(set(given) - _KNOWN):
        raise BadRules(path, f"{where}: {unknown[0]} is none of {', '.join(sorted(_KNOWN))}")
    lists = {}
    for name in ("maps", "pins", "types"):
        found = given.get(name, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise BadRules(path, f'{where}: {name} is a list of patterns, ["…"]')
        lists[name] = tuple(each.lower() for each in found) if name == "types" else tuple(found)
    entries = given.get("entries")
    if entries is not None and (not isinstance(entries, int) or isinstance(entries, bool) or entries < 1):
        raise BadRules(path, f"{where}: entries is a whole number from 1")
    interval_s = None if "every" not in given else _interval(given["every"], f"{path}: {where}", path)
    return Rule(number=number, interval_s=interval_s, entries=entries, **lists)


def _interval(given: Any, where: str, path: Path | str) -> float:
    if given == "never":
        return NEVER_S
    match = _EVERY.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise BadRules(path, f'{where.partition(": ")[2]}: every is "30s", "5m", "2h", "1d" or "never"')
    return max(float(match[1]) * _SECONDS[match[2]], LEAST_S)
