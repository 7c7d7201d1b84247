"""Whom a command asks: the running service of its data directory, or the broker's own code within the command."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from app.cli.errors import NotRoot, ServiceClosed
from app.settings import Settings, from_environment
from app.wire.accounts import Credential
from app.wire.ask import Client

CLI = Credential(source="cli")
"""What a command says of who asks: nothing, so the broker goes by the uid. It must be root's."""


def data_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--data, handed to the command as `settings`."""

    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Data directory of the service.  [env: BPF_ATLAS_DATA]",
    )
    @functools.wraps(function)
    def wrapper(*args: object, data: Path | None, **kwargs: object) -> object:
        return function(*args, settings=from_environment(data=data), **kwargs)

    return wrapper


def connect(settings: Settings) -> Client:
    """A client of the running service, or of the broker's code in this process when there is none and we are root.

    raises  NotRoot, ServiceClosed
    """
    if listens(settings.socket):
        from app.wire.connection import connect as connect_to

        return connect_to(settings.socket)
    if os.geteuid() != 0:
        raise NotRoot(settings.socket)
    from app.broker.local import client

    return client(settings)


def listens(path: Path) -> bool:
    """Whether a broker takes connections at `path`.

    raises  ServiceClosed where only this user is not let in
    """
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        probe.settimeout(1)
        probe.connect(str(path))
    except PermissionError as refused:
        raise ServiceClosed(path) from refused
    except OSError:
        return False
    else:
        return True
    finally:
        probe.close()
