"""What a policy says: which rule decides about an edit, and which values are left out for whom. Pure: no files, no clock.

Rules are tried in order; for each field of an edit the first one that matches decides, and if there is none the edit is
refused. An edit of several fields goes by the strictest of their rules. An action on a whole entry is bound by every
rule about one of its fields as well: what a rule keeps from `set` cannot be had by `replace`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from app.wire.edits import ACTIONS
from app.wire.patterns import Relation, closest, matches_any

DEFAULT_ACTIONS = frozenset({"set", "replace", "create", "delete", "put", "push", "pop"})
WHOLE = "value"
_WRITES_VALUES = frozenset({"set", "replace", "create", "push", "put"})
_RANK = {"editor": 1, "admin": 2, "nobody": 3}
_HAS = {"editor": 1, "admin": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a field's new value must be."""

    minimum: int | None = None
    maximum: int | None = None
    values: frozenset[int] | None = None

    @property
    def free(self) -> bool:
        """Any number will do."""
        return self.minimum is None and self.maximum is None and self.values is None

    def problem(self, number: int) -> str:
        """Say in a clause why a number is outside; empty when it is not."""
        if self.minimum is not None and number < self.minimum:
            return f"{number} is below {self.minimum}, the least that the policy allows"
        if self.maximum is not None and number > self.maximum:
            return f"{number} is above {self.maximum}, the most that the policy allows"
        if self.values is not None and number not in self.values:
            allowed = ", ".join(str(each) for each in sorted(self.values)[:20])
            return f"{number} is none of what the policy allows: {allowed or 'nothing'}"
        return ""

    def __and__(self, other: Bounds) -> Bounds:
        """Both."""
        values = self.values if other.values is None else other.values
        if self.values is not None and other.values is not None:
            values = self.values & other.values
        return Bounds(
            minimum=_of_both(self.minimum, other.minimum, max),
            maximum=_of_both(self.maximum, other.maximum, min),
            values=values,
        )


ANY = Bounds()


def _of_both(first: int | None, second: int | None, choose: Callable[[int, int], int]) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return choose(first, second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Maps by name, pin and type; kinds that are not given match any."""

    maps: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def matches(self, map_name: str, pins: Sequence[str], type_name: str) -> bool:
        """Say whether a map is meant; of several pins one is enough."""
        return (
            (not self.maps or matches_any(self.maps, map_name))
            and (not self.pins or any(matches_any(self.pins, pin) for pin in pins))
            and (not self.types or matches_any(tuple(each.lower() for each in self.types), type_name.lower()))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[rule]]`."""

    number: int
    """From 1, in the order of the file."""
    line: int
    """Of its header in the file; 0 in the built-in policy."""
    which: Which = Which()
    fields: tuple[str, ...] = ()
    actions: frozenset[str] = DEFAULT_ACTIONS
    role: str = "editor"
    bounds: Bounds = ANY
    per_minute: int = 0
    """Edits a minute and person; 0: any number."""
    approvals: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """One `[[redact]]`."""

    which: Which = Which()
    fields: tuple[str, ...] = ()
    """None: the whole value."""
    audit: bool = True
    """Old and new values are left out of the audit log."""
    hide_from: frozenset[str] = frozenset()

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of paths."""
        return self.fields or (WHOLE,)

    def covers(self, path: str, *, scalar: bool = False) -> bool:
        """A field, or anything around it, is meant; or something within it, unless it is one number, which has nothing within."""
        found = closest(self.patterns, path)
        return found is Relation.COVERS or (found is Relation.OVERLAPS and not scalar)

    def hides(self, path: str, role: str) -> bool:
        """Somebody of this role sees no value of it."""
        return role in self.hide_from and self.covers(path)


UNKNOWN = Redaction(audit=True, hide_from=frozenset({"viewer", "editor", "auditor"}))
"""What holds where a file cannot be read and never could: it may say so. Only admins see values then."""


class Origin(Enum):
    """Where a policy is from."""

    BUILT_IN = "built in: there is no policy file"
    FILE = "a file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the policy says to one edit."""

    allowed: bool
    reason: str
    """Why not; empty when it is allowed."""
    rule_number: int = 0
    """The strictest rule that decided; 0: none matched."""
    line: int = 0
    per_minute: int = 0
    approvals: int = 0
    bounds: tuple[Bounds, ...] = ()
    """One a path, in the paths' order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All of it, at one moment."""

    rules: tuple[Rule, ...] = ()
    redact: tuple[Redaction, ...] = ()
    origin: Origin = Origin.FILE
    problem: str = ""
    """Why nobody edits: an error in the file, as one sentence with its line."""
    path: str = ""

    def decide(
        self,
        *,
        map_name: str,
        pins: Sequence[str],
        type_name: str,
        action: str,
        paths: Sequence[str],
        role: str,
        scalars: Collection[str] = (),
    ) -> Ruling:
        """Rule on an edit of `paths`; actions on a whole entry name no paths.

        scalars  those of the paths that are known to be one number: rules about something within do not bind them
        """
        if self.problem:
            return Ruling(allowed=False, reason=self.problem)
        if action not in ACTIONS:
            return Ruling(allowed=False, reason=f"there is no action {action}")
        about = [
            rule for rule in self.rules if action in rule.actions and rule.which.matches(map_name, pins, type_name)
        ]
        decided: list[Rule] = []
        bounds: list[Bounds] = []
        for path in paths or (WHOLE,):
            of_path = _of_path(about, path, scalar=path in scalars)
            if not of_path or of_path[-1][1] is not Relation.COVERS:
                what = path if paths else "entries of this map"
                return Ruling(allowed=False, reason=f"the policy has no rule that lets anybody {action} {what}")
            refusal = _within(of_path, path, action, role)
            if refusal:
                return refusal
            decided += [rule for rule, _ in of_path]
            bounds.append(of_path[-1][0].bounds)
        strictest = max(decided, key=lambda rule: (_RANK[rule.role], rule.approvals, -rule.per_minute))
        reason = _unmet(strictest, role)
        return Ruling(
            allowed=not reason,
            reason=reason,
            rule_number=strictest.number,
            line=strictest.line,
            per_minute=min((rule.per_minute for rule in decided if rule.per_minute), default=0),
            approvals=max(rule.approvals for rule in decided),
            bounds=tuple(bounds) if paths else (),
        )

    @property
    def asks_for_pins(self) -> bool:
        """A rule, or a redaction, tells maps apart by their pins: only then are those looked for."""
        return any(rule.which.pins for rule in self.rules) or any(each.which.pins for each in self.redact)

    def allows_some_field(self, *, map_name: str, pins: Sequence[str], type_name: str, role: str) -> bool:
        """Say whether there is a rule by which this role sets a field of a map, whichever field that is."""
        return not self.problem and any(
            "set" in rule.actions and rule.which.matches(map_name, pins, type_name) and not _unmet(rule, role)
            for rule in self.rules
        )

    def redactions(self, *, map_name: str, pins: Sequence[str], type_name: str) -> tuple[Redaction, ...]:
        """Give what is left out of a map's values."""
        return tuple(each for each in self.redact if each.which.matches(map_name, pins, type_name))


def _of_path(rules: Sequence[Rule], path: str, *, scalar: bool) -> list[tuple[Rule, Relation]]:
    """Rules that bind one path: those about something within it, and last the one that decides, if there is one."""
    bind: list[tuple[Rule, Relation]] = []
    for rule in rules:
        how = closest(rule.fields, path) if rule.fields else Relation.COVERS
        if how is Relation.OVERLAPS and scalar:
            continue
        if how is not Relation.APART:
            bind.append((rule, how))
        if how is Relation.COVERS:
            break
    return bind


def _within(bind: Sequence[tuple[Rule, Relation]], path: str, action: str, role: str) -> Ruling | None:
    """Refuse to write all of something when a rule limits a part of it: nobody could see whether the limit is kept."""
    if action not in _WRITES_VALUES:
        return None
    for rule, how in bind:
        if how is Relation.OVERLAPS and not rule.bounds.free and not _unmet(rule, role):
            reason = f"{_named(rule)} limits {', '.join(rule.fields)}: set fields one by one instead of all of {path}"
            return Ruling(allowed=False, reason=reason, rule_number=rule.number, line=rule.line)
    return None


def _unmet(rule: Rule, role: str) -> str:
    if rule.role != "nobody" and _HAS.get(role, 0) >= _RANK[rule.role]:
        return ""
    if rule.role == "nobody":
        said = f"{_named(rule)} lets nobody do this"
    else:
        said = f"{_named(rule)} lets only the role {rule.role} do this, and yours is {role}"
    return f"{said}: {rule.note}" if rule.note else said


def _named(rule: Rule) -> str:
    return f"rule {rule.number} of the policy" + (f" (line {rule.line})" if rule.line else "")


BUILT_IN = Policy(
    rules=(
        Rule(number=1, line=0, note="editors edit entries"),
        Rule(
            number=2,
            line=0,
            actions=frozenset({"freeze", "pin", "unpin", "clear", "make"}),
            role="admin",
            note="what concerns a whole map is for admins",
        ),
    ),
    origin=Origin.BUILT_IN,
)
