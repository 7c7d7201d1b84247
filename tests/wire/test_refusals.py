"""An error looks the same on both sides of the socket."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from app.errors import AppError, UsageError
from app.uapi import errors as kernel
from app.uapi.enums import BpfCmd
from app.uapi.loading import ProgRefused
from app.wire import errors as wire
from app.wire import refusals
from app.wire.bodies import Refused

KERNEL = [each for _, each in inspect.getmembers(kernel, inspect.isclass) if issubclass(each, kernel.KernelError)]
DECLINED = [each for _, each in inspect.getmembers(wire, inspect.isclass) if issubclass(each, wire.Declined)]


def across(error: AppError) -> AppError:
    encoded = msgspec.msgpack.encode(refusals.refused(error))
    return refusals.as_error(msgspec.msgpack.decode(encoded, type=Refused))


@pytest.mark.parametrize("kind", KERNEL, ids=lambda kind: kind.__name__)
def test_every_error_of_the_kernel_comes_back_as_itself(kind: type[kernel.KernelError]) -> None:
    error = kind(BpfCmd.MAP_LOOKUP_ELEM, 2, "say what to do")
    back = across(error)
    assert type(back) is kind
    assert isinstance(back, kernel.KernelError)
    assert (str(back), back.cmd, back.errno) == (str(error), error.cmd, error.errno)


@pytest.mark.parametrize("kind", [*DECLINED, wire.BrokerFailed], ids=lambda kind: kind.__name__)
def test_every_reason_to_decline_comes_back_as_itself(kind: type[wire.WireError]) -> None:
    back = across(kind("because of this"))
    assert type(back) is kind
    assert str(back) == "because of this"


def test_the_verifiers_words_come_as_an_invalid_argument() -> None:
    back = across(ProgRefused(kernel.error_for(BpfCmd.PROG_LOAD, 13), "R1 is not ok"))
    assert type(back) is kernel.InvalidForKernel
    assert "R1 is not ok" in str(back)


@pytest.mark.parametrize("error", [UsageError("x"), wire.BrokerSlow("MAPS", 1)])
def test_what_the_table_does_not_know_is_the_brokers_failure(error: AppError) -> None:
    assert type(across(error)) is wire.BrokerFailed


def test_a_name_out_of_a_newer_broker_is_no_crash() -> None:
    assert type(refusals.as_error(Refused(error="__class__", message="m"))) is wire.BrokerFailed
