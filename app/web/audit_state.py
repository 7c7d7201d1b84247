"""What the address of the audit page says, and the addresses of its neighbours."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import request

from app.maps.errors import BadMoment
from app.maps.recorded import moment_ns
from app.web import arguments
from app.web.problems import BadArgument
from app.wire.accounts import Credential
from app.wire.records import AskRecords

KINDS = {
    "": ("everything", ""),
    "edits": ("edits", "map."),
    "refused": ("refused edits", "edit."),
    "sessions": ("sessions", "session."),
    "writing": ("write sessions", "write."),
    "users": ("users", "user."),
    "tokens": ("API tokens", "token."),
    "links": ("one-time links", "link."),
    "history": ("changes of the history", "history."),
}
"""Name in the address → (words, beginning of the codes)."""
LIMIT = 50
MAX_LIMIT = 500
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditState:
    """One state of `/audit`."""

    map_id: int = 0
    user: str = ""
    kind: str = ""
    text: str = ""
    since: str = ""
    key: str = ""
    before: int = 0
    limit: int = LIMIT

    def link(self, path: str = "/audit", **change: object) -> str:
        """The address of this state with something changed; a changed selection starts at the newest record."""
        other = replace(self, **({"before": 0} | change))  # type: ignore[arg-type]
        pairs = [
            (name, str(value))
            for name, value in (
                ("map", other.map_id),
                ("user", other.user),
                ("kind", other.kind),
                ("q", other.text),
                ("since", other.since),
                ("key", other.key),
                ("before", other.before),
            )
            if value
        ]
        if other.limit != LIMIT:
            pairs.append(("limit", str(other.limit)))
        return path + ("?" + urlencode(pairs) if pairs else "")

    @property
    def narrowed(self) -> bool:
        """Something is selected."""
        return bool(self.map_id or self.user or self.kind or self.text or self.since or self.key)

    def question(self, credential: Credential) -> AskRecords:
        """What the broker is asked. raises BadArgument"""
        try:
            since_ns = moment_ns(self.since, time.time_ns()) if self.since else 0
        except BadMoment as problem:
            raise BadArgument("since", self.since, "a time, or 30s, 10m, 2h, 3d for so long ago") from problem
        return AskRecords(
            credential,
            before=self.before,
            limit=self.limit,
            map_id=self.map_id,
            user=self.user,
            code=KINDS[self.kind][1],
            text=self.text,
            since_ns=since_ns,
            key_hex=self.key,
        )


def read_state() -> AuditState:
    """The state that the request asks for. raises BadArgument"""
    key = arguments.words("key").replace(" ", "").removeprefix("hex:")
    if not _HEX.fullmatch(key):
        raise BadArgument("key", key, "bytes in hexadecimal")
    return AuditState(
        map_id=arguments.whole("map", default=0, least=0, most=arguments.MAX_ID),
        user=arguments.words("user")[:200],
        kind=arguments.choice("kind", KINDS),
        text=arguments.words("q")[:400],
        since=arguments.words("since")[:60],
        key=key[:2000],
        before=arguments.whole("before", default=0, least=0, most=1 << 53),
        limit=arguments.whole("limit", default=LIMIT, least=1, most=MAX_LIMIT),
    )


def is_form() -> bool:
    """A form sends its empty fields too: such an address is answered with its short form."""
    return any(value == "" for values in request.args.listvalues() for value in values)
