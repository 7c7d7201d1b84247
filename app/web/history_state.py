"""What the address of the history page says, and the addresses of its neighbours."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import request

from app.history.series import SeriesFacts
from app.timeline.errors import BadWhen
from app.timeline.timeline import when_ns
from app.web import arguments
from app.web.problems import BadArgument

TRIGGERS = {"schedule": "by schedule", "manual": "by hand", "pre-edit": "before an edit", "import": "imported"}
LIMIT = 50
MAX_LIMIT = 500
MOST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryState:
    """One state of `/snapshots`."""

    by: str = ""
    """`map`: one line a map instead of one a snapshot."""
    q: str = ""
    series: int = 0
    trigger: str = ""
    labelled: str = ""
    since: str = ""
    until: str = ""
    before: int = 0

    def link(self, **change: object) -> str:
        """The address of this state with something changed; a changed selection starts at the newest."""
        other = replace(self, **({"before": 0} | change))  # type: ignore[arg-type]
        pairs = [(name, str(value)) for name in self.__slots__ if (value := getattr(other, name))]
        return "/snapshots" + ("?" + urlencode(pairs) if pairs else "")

    @property
    def narrowed(self) -> bool:
        """Something is selected."""
        return bool(self.q or self.series or self.trigger or self.labelled or self.since or self.until)

    @property
    def since_ns(self) -> int:
        """CLOCK_REALTIME; 0 without one. raises BadArgument"""
        return _when("since", self.since)

    @property
    def until_ns(self) -> int:
        """CLOCK_REALTIME; 0 without one. raises BadArgument"""
        return _when("until", self.until)


def read_state() -> HistoryState:
    """The state that the request asks for. raises BadArgument"""
    return HistoryState(
        by=arguments.choice("by", ("map",)),
        q=arguments.words("q")[:200],
        series=arguments.whole("series", default=0, least=1, most=MOST),
        trigger=arguments.choice("trigger", TRIGGERS),
        labelled=arguments.choice("labelled", ("1",)),
        since=arguments.words("since")[:60],
        until=arguments.words("until")[:60],
        before=arguments.whole("before", default=0, least=1, most=MOST),
    )


def is_form() -> bool:
    """A form sends its empty fields too: such an address is answered with its short form."""
    return any(value == "" for values in request.args.listvalues() for value in values)


def matches(series: SeriesFacts, query: str) -> bool:
    """Every word is in what names a map: its name, pin, owner, host, or `#` and its id."""
    of = series.of
    haystack = "\n".join((of.name, of.pin, of.owner, of.host, f"#{series.map_id}")).lower()
    return all(word in haystack for word in query.lower().split())


def _when(name: str, text: str) -> int:
    try:
        return when_ns(text, time.time_ns()) if text else 0
    except BadWhen:
        raise BadArgument(name, text, "a time, or 30s, 10m, 2h, 3d for so long ago") from None
