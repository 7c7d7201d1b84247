"""What can be wrong with BTF: every error of this room is a BtfError."""

from __future__ import annotations

from app.errors import AppError


class BtfError(AppError):
    """The BTF cannot be read as asked. Nothing else leaves this room, however hostile the bytes."""


class NotBtf(BtfError):
    """The blob does not start with a BTF header that this parser knows."""

    def __init__(self, found: str) -> None:
        super().__init__(f"This is not BTF: a header with magic 0xeb9f and version 1 was wanted, found {found}")


class SectionEndsEarly(BtfError):
    """A record or header reaches past the end of what holds it."""

    def __init__(self, section: str, offset_bytes: int, need_bytes: int, have_bytes: int) -> None:
        super().__init__(
            f"BTF {section} section: the record at byte {offset_bytes} needs {need_bytes} bytes, {have_bytes} are left"
        )


class BadHeader(BtfError):
    """The header's sections overlap it, each other's place or the end of the blob."""


class BadString(BtfError):
    """A name's offset is outside the strings, or the strings are not NUL-terminated."""

    def __init__(self, offset_bytes: int, size_bytes: int) -> None:
        super().__init__(
            f"BTF strings: a name at byte {offset_bytes} was asked for, the section has {size_bytes} bytes"
        )


class BadRecord(BtfError):
    """A type's record contradicts the format."""

    def __init__(self, type_id: int, what: str) -> None:
        super().__init__(f"BTF type {type_id}: {what}")


class NoSuchType(BtfError):
    """A type number beyond the last one."""

    def __init__(self, type_id: int, n_types: int) -> None:
        super().__init__(f"BTF type {type_id} does not exist: the numbers end at {n_types - 1}")


class NoSize(BtfError):
    """The type has no size: void, a function, a declaration without a body."""


class TooDeep(BtfError):
    """Types nest in a circle, or deeper than any compiler makes them."""

    def __init__(self, type_id: int, limit: int) -> None:
        super().__init__(f"BTF type {type_id}: its types nest in a circle or deeper than {limit}")


class TooLarge(BtfError):
    """A size or a text grows past its limit."""
