"""Where each setting of this process comes from, for the page that shows them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from app.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting as the page has it."""

    name: str
    value: str
    origin: str
    """`default`, the environment variable, or `flag`."""


def shown(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[Shown]:
    """All of them. None holds a secret: secrets are in files, and only the files' names are settings."""
    rows = []
    for field in fields(Settings):
        value = getattr(settings, field.name)
        variable = PREFIX + field.name.upper()
        origin = "default" if value == field.default else variable if environment.get(variable) else "flag"
        rows.append(Shown(field.name, _text(value), origin))
    return rows


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "none"
