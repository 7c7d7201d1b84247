"""What the address of the diff page says, and the addresses of its neighbours: every state has one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import request

from app.web import arguments
from app.web.problems import BadArgument

KINDS = ("added", "removed", "changed")
LAYOUTS = ("fields", "side", "raw")
FORMATS = ("json", "csv", "patch")
ON_OFF = ("0", "1")
MOST_PAGES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffState:
    """One state of `/diff`."""

    a: str = ""
    b: str = ""
    kinds: tuple[str, ...] = ()
    """Empty: all."""
    field: str = ""
    """A path, or a pattern of paths."""
    where: str = ""
    key: str = ""
    layout: str = "fields"
    only_changed: bool = False
    """Columns without a difference are left out."""
    ignore: bool = True
    """What the map's rules name is left out."""
    page: int = 1

    def link(self, path: str = "/diff", **change: object) -> str:
        """The address of this state with something changed; a changed selection starts at its first page."""
        file_kind = str(change.pop("format", ""))
        other = replace(self, **({"page": 1} | change))  # type: ignore[arg-type]
        pairs = [(name, text) for name, text in (("a", other.a), ("b", other.b)) if text]
        pairs += [("kind", kind) for kind in other.kinds]
        pairs += [
            (name, text) for name, text in (("field", other.field), ("where", other.where), ("key", other.key)) if text
        ]
        if other.layout != "fields":
            pairs.append(("layout", other.layout))
        if other.only_changed:
            pairs.append(("cols", "changed"))
        if not other.ignore:
            pairs.append(("ignore", "0"))
        if other.page > 1:
            pairs.append(("page", str(other.page)))
        if file_kind:
            pairs.append(("format", file_kind))
        return path + ("?" + urlencode(pairs) if pairs else "")

    def kind_link(self, kind: str) -> str:
        """The address with one kind alone, or with all again."""
        return self.link(kinds=() if self.kinds == (kind,) else (kind,))

    @property
    def swapped(self) -> str:
        """The address of the comparison the other way round."""
        turned = {"added": "removed", "removed": "added", "changed": "changed"}
        return self.link(a=self.b, b=self.a, kinds=tuple(turned[kind] for kind in self.kinds))

    @property
    def narrowed(self) -> bool:
        """Some rows are left out."""
        return bool(self.kinds or self.field or self.where or self.key)


def read_state() -> DiffState:
    """The state that the request asks for. raises BadArgument"""
    kinds = tuple(dict.fromkeys(kind for kind in request.args.getlist("kind") if kind))
    for kind in kinds:
        if kind not in KINDS:
            raise BadArgument("kind", kind, "one of " + ", ".join(KINDS))
    return DiffState(
        a=arguments.words("a"),
        b=arguments.words("b"),
        kinds=() if set(kinds) == set(KINDS) else kinds,
        field=arguments.words("field"),
        where=arguments.words("where"),
        key=arguments.words("key"),
        layout=arguments.choice("layout", LAYOUTS, "fields") or "fields",
        only_changed=arguments.choice("cols", ("changed",)) == "changed",
        ignore=arguments.choice("ignore", ON_OFF, "1") != "0",
        page=arguments.whole("page", default=1, least=1, most=MOST_PAGES),
    )


def is_form() -> bool:
    """A form sends its empty fields too: such an address is answered with its short form."""
    return any(value == "" for values in request.args.listvalues() for value in values)
