"""The strings of a BTF blob, which split BTF continues from its base."""

from __future__ import annotations

from app.btf.errors import BadHeader, BadString, TooLarge

SPARE_BYTES = 1 << 16
OVERLAP = 8
"""How often the section's size may be read as distinct names. Names that share their ends are legal, but
thousands of offsets into one long string would cost their number times its length."""


class Strings:
    """Names by offset: ``at`` decodes once and remembers."""

    def __init__(self, section: bytes, base: Strings | None = None) -> None:
        """Check the section: it ends with NUL, and starts with one unless it continues ``base``."""
        if not section and base is None:
            raise BadHeader("BTF strings: the section is empty, at least the empty name was wanted")
        if section and section[-1] != 0:
            raise BadHeader("BTF strings: the section does not end with NUL")
        if base is None and section[0] != 0:
            raise BadHeader("BTF strings: the section does not start with the empty name")
        self._section = section
        self._base = base
        self._first = base.end if base else 0
        self.end: int = self._first + len(section)
        """One past the last offset, the base's strings counted in."""
        self._names: dict[int, str] = {0: ""}
        self._budget_bytes = OVERLAP * len(section) + SPARE_BYTES

    def at(self, offset_bytes: int) -> str:
        r"""Return the name at an offset; bytes that are not UTF-8 stand as ``\xNN``.

        raises   BadString past the end, TooLarge where overlapping names add up to many times the section
        """
        name = self._names.get(offset_bytes)
        if name is not None:
            return name
        if offset_bytes >= self.end:
            raise BadString(offset_bytes, self.end)
        if self._base is not None and offset_bytes < self._first:
            return self._base.at(offset_bytes)
        start = offset_bytes - self._first
        raw = self._section[start : self._section.index(0, start)]
        self._budget_bytes -= len(raw)
        if self._budget_bytes < 0:
            raise TooLarge(f"BTF strings: overlapping names add up to more than {OVERLAP} times their section")
        name = self._names[offset_bytes] = raw.decode("utf-8", "backslashreplace")
        return name

    def offsets_of(self, name: str) -> list[int]:
        """Return every offset at which exactly ``name`` can be read, also as the end of a longer one."""
        wanted = name.encode("utf-8", "surrogatepass")
        if not wanted or 0 in wanted:
            return []
        wanted += b"\0"
        found = self._base.offsets_of(name) if self._base else []
        at = self._section.find(wanted)
        while at >= 0:
            found.append(self._first + at)
            at = self._section.find(wanted, at + 1)
        return found
