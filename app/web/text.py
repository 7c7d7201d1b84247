"""Numbers and foreign text as people read them. What kernels and programs call things may hold any character."""

from __future__ import annotations

import re
import time
import unicodedata

from markupsafe import Markup, escape

KIB = 1024
THIN_SPACE = "\u2009"
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that show nothing, or turn the text around them: each is written as its escape."""


def visible(text: str) -> str:
    """Foreign text with every control, format and bidi character as an escape; the page still escapes HTML."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if unicodedata.category(char) not in UNSEEN else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 1 << 8:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def sentence(text: str) -> Markup:
    """One of our messages as a page says it: with a capital where it begins with a word, a full stop, `commands` as code."""
    shown = visible(text).strip()
    if re.match(r"[a-z]+[ ,:;]", shown):
        shown = shown[0].upper() + shown[1:]
    if shown and shown[-1] not in ".!?":
        shown += "."
    pieces = [escape(piece) for piece in shown.split("`")]
    if len(pieces) % 2 == 0:
        return Markup("`").join(pieces)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if at % 2 else piece for at, piece in enumerate(pieces)
    )


def thousands(number: int) -> str:
    """``41 208``: groups of three by thin spaces."""
    return f"{number:,}".replace(",", THIN_SPACE)


def bytes_text(size_bytes: int) -> str:
    """``7.1 MiB``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < KIB or unit == "GiB":
            break
        size /= KIB
    return f"{int(size)} B" if unit == "B" else f"{size:.1f} {unit}"


def clock(at_s: float) -> str:
    """``2026-11-24 18:03``, of CLOCK_REALTIME in seconds, in the service's own time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))


def percent(ratio: float) -> str:
    """``62.9 %``, unbreakable; never rounded up to 100."""
    shown = f"{ratio * 100:.1f}"
    if ratio < 1 and shown == "100.0":
        shown = "99.9"
    return f"{shown}\N{NARROW NO-BREAK SPACE}%"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 map``, ``17 maps``."""
    return f"{thousands(count)} {one if count == 1 else many or one + 's'}"


def shorter(path: str, limit_chars: int = 34) -> str:
    """A long path by its end: ``…/tc/globals/cilium_lb4``."""
    if len(path) <= limit_chars:
        return path
    tail = path[-limit_chars:]
    cut = tail.find("/")
    return "…" + (tail[cut:] if 0 <= cut < limit_chars - 4 else tail)
