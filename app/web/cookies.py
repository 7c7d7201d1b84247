"""The cookies of a session and of its write session: what they are called, and how they are set and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Response

    from app.settings import Settings

MINUTE_S = 60
HOUR_S = 3600


def session_name(settings: Settings) -> str:
    """``__Host-`` binds the cookie to this name and https; on loopback http the port keeps two instances apart."""
    if settings.behind_tls:
        return "__Host-bpf-atlas"
    return f"bpf-atlas-{_port(settings)}"


def write_name(settings: Settings) -> str:
    """As `session_name`, of the write session's cookie."""
    if settings.behind_tls:
        return "__Host-bpf-atlas-write"
    return f"bpf-atlas-write-{_port(settings)}"


def set_session(response: Response, settings: Settings, value: str) -> None:
    """Sent along when a link on another site leads here, so that links into the dashboard work."""
    response.set_cookie(
        session_name(settings),
        value,
        max_age=settings.session_hours * HOUR_S,
        path="/",
        secure=settings.behind_tls,
        httponly=True,
        samesite="Lax",
    )


def set_write(response: Response, settings: Settings, value: str) -> None:
    """Never sent along when another site leads here."""
    response.set_cookie(
        write_name(settings),
        value,
        max_age=settings.write_minutes * MINUTE_S,
        path="/",
        secure=settings.behind_tls,
        httponly=True,
        samesite="Strict",
    )


def clear_write(response: Response, settings: Settings) -> None:
    """Take the write session's cookie back."""
    response.delete_cookie(write_name(settings), path="/", secure=settings.behind_tls, httponly=True, samesite="Strict")


def clear(response: Response, settings: Settings) -> None:
    """Take both back."""
    clear_write(response, settings)
    response.delete_cookie(session_name(settings), path="/", secure=settings.behind_tls, httponly=True, samesite="Lax")


def _port(settings: Settings) -> str:
    return settings.listen.rpartition(":")[2]
