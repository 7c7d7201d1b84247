"""Errors across the socket: by name from the broker, and by one explicit table back to the same class on the asking side."""

from __future__ import annotations

from app.errors import AppError
from app.uapi import errors as kernel
from app.uapi.enums import BpfCmd
from app.uapi.loading import ProgRefused
from app.wire import errors as wire
from app.wire.bodies import Refused

_KERNEL: dict[str, type[kernel.KernelError]] = {
    each.__name__: each
    for each in (
        kernel.KernelError,
        kernel.NotPermitted,
        kernel.NotSupported,
        kernel.ObjectGone,
        kernel.NoSuchKey,
        kernel.AlreadyThere,
        kernel.MapFull,
        kernel.Busy,
        kernel.InvalidForKernel,
        kernel.OutOfMemory,
    )
}
_WIRE: dict[str, type[wire.WireError]] = {
    each.__name__: each
    for each in (
        wire.BrokerFailed,
        wire.Declined,
        wire.PinOutside,
        wire.WrongMapType,
        wire.LimitExceeded,
        wire.UnusableHere,
        wire.SignInFailed,
        wire.SessionOver,
        wire.NeedsWriteSession,
        wire.NotAllowed,
        wire.EditsOff,
        wire.TooFast,
        wire.BadField,
        wire.MapChanged,
        wire.NotThere,
        wire.Taken,
        wire.CannotRecord,
    )
}
# A class that only the broker's side can meet arrives as the nearest one that the asking side knows.
_SENT_AS: dict[type[AppError], str] = {ProgRefused: kernel.InvalidForKernel.__name__}


def refused(error: AppError) -> Refused:
    """Say what to send instead of an answer."""
    name = _SENT_AS.get(type(error), type(error).__name__)
    if isinstance(error, kernel.KernelError):
        return Refused(error=name, message=str(error), cmd=int(error.cmd), errno=error.errno)
    if name not in _WIRE:
        name = wire.BrokerFailed.__name__
    return Refused(
        error=name,
        message=str(error),
        field=error.field if isinstance(error, wire.BadField) else "",
        retry_s=error.retry_s if isinstance(error, wire.TooFast) else 0,
    )


def as_error(answer: Refused) -> AppError:
    """Make the error to raise on the asking side: same class, same sentence, same numbers."""
    if answer.error in _KERNEL:
        error = _KERNEL[answer.error].__new__(_KERNEL[answer.error])
        AppError.__init__(error, answer.message)
        error.cmd = BpfCmd(answer.cmd)
        error.errno = answer.errno
        return error
    made = _WIRE.get(answer.error, wire.BrokerFailed)(answer.message)
    if isinstance(made, wire.BadField):
        made.field = answer.field
    if isinstance(made, wire.TooFast):
        made.retry_s = answer.retry_s
    return made
