"""Error class → exit status, as INTERFACE promises: 1 not so, 2 usage, 3 the kernel or a privilege refused."""

from __future__ import annotations

from app.errors import AppError, NeedsRights, UsageError
from app.history.errors import DatabaseDamaged, DatabaseUnusable, HistoryError, OtherRecorder
from app.maps.errors import CannotList, CannotLookUp, MapsError
from app.timeline.errors import NotKept, TimelineError
from app.uapi.errors import AlreadyThere, KernelError, NoSuchKey, ObjectGone
from app.wire.errors import BadField, MapChanged, NotThere, PinOutside, SignInFailed, Taken, TooFast, WireError

NOT_SO, USAGE, REFUSED = 1, 2, 3

STATUS: dict[type[AppError], int] = {
    NeedsRights: REFUSED,
    UsageError: USAGE,
    CannotList: REFUSED,
    CannotLookUp: REFUSED,
    MapsError: NOT_SO,
    ObjectGone: NOT_SO,
    NoSuchKey: NOT_SO,
    AlreadyThere: NOT_SO,
    KernelError: REFUSED,
    PinOutside: NOT_SO,
    NotThere: NOT_SO,
    Taken: NOT_SO,
    MapChanged: NOT_SO,
    TooFast: NOT_SO,
    SignInFailed: NOT_SO,
    BadField: USAGE,
    OtherRecorder: REFUSED,
    DatabaseDamaged: NOT_SO,
    DatabaseUnusable: REFUSED,
    HistoryError: NOT_SO,
    NotKept: REFUSED,
    TimelineError: NOT_SO,
    WireError: REFUSED,
}


def status_of(error: AppError) -> int:
    """The status of the nearest class in the table; UsageError and NeedsRights count wherever they stand among the bases."""
    for marker in (UsageError, NeedsRights):
        if isinstance(error, marker):
            return STATUS[marker]
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    from app.columns.errors import ColumnsError

    return USAGE if isinstance(error, ColumnsError) else NOT_SO
