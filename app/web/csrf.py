"""A value that only pages of ours can know: derived from the session, so nothing is stored and it ends with it.

The check of where a request comes from (gate.check_origin) stands before this; each alone would do in a browser of today.
"""

from __future__ import annotations

import hashlib
import hmac

from flask import Request
from markupsafe import Markup

FIELD = "csrf"
HEADER = "X-Csrf-Token"
_WHAT_FOR = b"bpf-atlas csrf 1"


def token(session_value: str) -> str:
    """Of one session; it does not lead back to the session's value."""
    return hmac.new(session_value.encode("utf-8", "surrogatepass"), _WHAT_FOR, hashlib.sha256).hexdigest()


def is_right(asked: Request, session_value: str) -> bool:
    """Whether the request carries it, as a header or as a field of its form."""
    found = asked.headers.get(HEADER) or asked.form.get(FIELD, "")
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), token(session_value).encode())


def field(session_value: str) -> Markup:
    """The hidden input that each form needs that changes something."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token(session_value))
