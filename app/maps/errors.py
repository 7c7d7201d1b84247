"""What can be wrong with a map that somebody asks for."""

from __future__ import annotations

from app.errors import AppError, UsageError


class MapsError(AppError):
    """Root of this room's errors."""


class BadMoment(MapsError, UsageError):
    """No moment."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no time: write 2026-11-24T18:03, or 30s, 10m, 2h, 3d for so long ago")


class NoSuchMap(MapsError):
    """No live map answers to a reference."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no map {reference} on this host now; `bpf-atlas maps` lists what there is")


class AmbiguousName(MapsError):
    """Several live maps have the name."""

    def __init__(self, name: str, ids: tuple[int, ...]) -> None:
        super().__init__(f"{len(ids)} maps are named {name}: say which by id, one of {', '.join(map(str, ids))}")
        self.ids = ids


class BadReference(MapsError, UsageError):
    """A reference that is neither an id, a pin path nor name:NAME."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no map: give an id (12), a pin path (/sys/fs/bpf/...) or name:NAME")


class CannotList(MapsError):
    """The map's type does not let anybody enumerate its entries."""

    def __init__(self, type_name: str, why: str, instead: str) -> None:
        super().__init__(f"the entries of this {type_name} cannot be listed: {why}. {instead}".rstrip())
        self.why = why


class CannotLookUp(MapsError):
    """The map's type does not let anybody look up a key."""

    def __init__(self, type_name: str, why: str) -> None:
        super().__init__(f"this {type_name} has no look-up by key: {why}")


class NoSuchEntry(MapsError):
    """The exact key was asked for and is not there now."""

    def __init__(self, key: str, map_id: int) -> None:
        super().__init__(f"map {map_id} has no entry under {key} now")


class BadCursor(MapsError, UsageError):
    """A cursor or a view token that we did not make."""

    def __init__(self) -> None:
        super().__init__("this page's cursor cannot be read: start again from the first page")


class ViewGone(MapsError):
    """A kept reading whose time is over."""

    def __init__(self) -> None:
        super().__init__("that reading is no longer kept: read the map again")


class Busy(MapsError):
    """Other readings take all the memory or all the places that there are."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"readings that are in use fill the {limit_bytes >> 20} MiB that there are for them: try again when a download has"
            " ended, or raise BPF_ATLAS_VIEW_MEMORY_MIB"
        )


class CannotEdit(MapsError, UsageError):
    """What was asked for is no edit that this map could have."""


class NothingToChange(MapsError, UsageError):
    """Every field would stay as it is."""

    def __init__(self) -> None:
        super().__init__("nothing would change: every field holds that already")
