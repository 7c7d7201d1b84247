"""What the address of an entries page says, and the addresses of its neighbours: every state has one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import request

from app.web import arguments
from app.web.problems import BadArgument

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_COLUMNS = 64
FOLDS = ("sum", "min", "max", "each")
FORMATS = ("json", "ndjson", "csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesState:
    """One state of `/maps/ID`, now or `at` a moment, or of `/snapshots/REF`."""

    map_id: int = 0
    ref: str = ""
    """A snapshot by itself, instead of a map."""
    at: str = ""
    """A WHEN, or a snapshot: the map as it was then."""
    where: str = ""
    sort: str = ""
    cursor: str = ""
    limit: int = DEFAULT_LIMIT
    columns: tuple[str, ...] = ()
    lenses: tuple[tuple[str, str], ...] = ()
    fold: str = "sum"
    key: str = ""

    def link(self, **change: object) -> str:
        """The address of this state with something changed; a changed selection starts at the first page."""
        if not {"cursor", "format"} & set(change):
            change["cursor"] = ""
        download = str(change.pop("format", ""))
        other = replace(self, key="", **change)  # type: ignore[arg-type]
        pairs: list[tuple[str, str]] = [
            (name, value)
            for name, value in (
                ("at", other.at),
                ("where", other.where),
                ("sort", other.sort),
                ("cursor", other.cursor),
            )
            if value
        ]
        if other.limit != DEFAULT_LIMIT:
            pairs.append(("limit", str(other.limit)))
        pairs += [("col", path) for path in other.columns]
        pairs += [("lens", f"{path}:{lens}") for path, lens in other.lenses]
        if other.fold != "sum":
            pairs.append(("fold", other.fold))
        if download:
            pairs.append(("format", download))
        return other.path + ("?" + urlencode(pairs) if pairs else "")

    @property
    def path(self) -> str:
        """The address without its arguments."""
        return f"/snapshots/{self.ref}" if self.ref else f"/maps/{self.map_id}"

    def sorted_by(self, path: str, *, numeric: bool) -> str:
        """The address that sorts by a field: numbers largest first; again turns it round, a third time ends it."""
        first, second = (f"-{path}", path) if numeric else (path, f"-{path}")
        return self.link(sort=second if self.sort == first else "" if self.sort == second else first)

    @property
    def lens_of(self) -> dict[str, str]:
        """Chosen lens by path."""
        return dict(self.lenses)


def read_state(map_id: int = 0, ref: str = "") -> EntriesState:
    """The state that the request asks for, of a map or of a snapshot. raises BadArgument"""
    columns = tuple(dict.fromkeys(path for path in request.args.getlist("col") if path))
    if len(columns) > MAX_COLUMNS:
        raise BadArgument("col", f"{len(columns)} columns", f"at most {MAX_COLUMNS} columns")
    return EntriesState(
        map_id=map_id,
        ref=ref,
        at="" if ref else arguments.words("at")[:60],
        where=arguments.words("where"),
        sort=arguments.words("sort"),
        cursor=arguments.words("cursor"),
        limit=arguments.whole("limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
        columns=columns,
        lenses=_lenses(),
        fold=arguments.choice("fold", FOLDS, "sum"),
        key=arguments.words("key"),
    )


def is_form() -> bool:
    """A form without script sends its empty fields too: such an address is answered with its short form."""
    return any(value == "" for values in request.args.listvalues() for value in values) or "set" in request.args


def _lenses() -> tuple[tuple[str, str], ...]:
    chosen: dict[str, str] = {}
    for text in request.args.getlist("lens"):
        if not text:
            continue
        path, _, lens = text.rpartition(":")
        if not path or len(chosen) >= MAX_COLUMNS:
            raise BadArgument("lens", text, "a field and a lens, such as value.saddr:hex")
        chosen[path] = lens
    return tuple(chosen.items())
