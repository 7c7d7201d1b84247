"""The WSGI callable of a real process: settings in, broker reached through its socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.web.factory import create_app
from app.web.rendering import compile_templates
from app.wire.connection import connect

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings
    from app.web.private import Folder


def make(settings: Settings, folder: Folder | None = None) -> Flask:
    """The application, asking the broker that listens in the data directory."""
    app = create_app(settings, connect(settings.socket), folder)
    compile_templates(app)
    return app
