"""What the asking sides of all themes stand on: a transport, and one question with one answer of a known type."""

from __future__ import annotations

from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self, TypeVar

from app.wire import bodies

_Answer = TypeVar("_Answer", bound=bodies.Body)


class Transport(Protocol):
    """How a question reaches its handler: connection.SocketTransport, or app.broker.local."""

    def ask(self, verb: IntEnum, question: bodies.Body) -> tuple[bodies.Body, int | None]:
        """Give the answer's body, of the verb's own type, and the descriptor that came with it (the caller's to close)."""

    def close(self) -> None:
        """Let go of connections; a later `ask` opens new ones."""


class Asking:
    """Has a transport; usable as a context manager."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _plain(self, verb: IntEnum, question: bodies.Body, wanted: type[_Answer]) -> _Answer:
        answer, descriptor = self._transport.ask(verb, question)
        if not isinstance(answer, wanted) or descriptor is not None:
            raise TypeError(f"{verb.name} was answered with {type(answer).__name__}, descriptor {descriptor}")
        return answer
