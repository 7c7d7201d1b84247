"""Put the web together: create_app gives a WSGI callable with the doorway around a Flask application."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from flask import Flask, Response, g

from app.web import (
    assets,
    audit_page,
    backend,
    diff_page,
    drafts,
    edits,
    entries,
    entry_page,
    errors,
    gate,
    health,
    login,
    moment_page,
    oidc,
    overview,
    plans_page,
    relations_page,
    rendering,
    reports,
    restore_page,
    schedule_page,
    schema_page,
    series_page,
    settings_page,
    snapshots_page,
    story_page,
    undo,
)
from app.web.address import ADDRESS
from app.web.api import audit as api_audit
from app.web.api import diff as api_diff
from app.web.api import edits as api_edits
from app.web.api import snapshots as api_snapshots
from app.web.api import views as api
from app.web.headers import Doorway
from app.web.hosts import allowed
from app.web.private import Folder
from app.web.problems import DataUnusable

if TYPE_CHECKING:
    from app.settings import Settings
    from app.wire.ask import Client

MAX_BODY_BYTES = 1 << 20
log = logging.getLogger("bpf_atlas.web")


def create_app(settings: Settings, client: Client, folder: Folder | None = None) -> Flask:
    """The application of one web process.

    settings  `listen` is the address really bound, as the Host check compares ports
    client    how the broker is asked: its socket, or the broker's own code inside this process
    folder    DATA/web, opened before privileges were dropped; by default opened now
    """
    folder = folder or Folder.prepare(settings)
    try:
        folder.write(ADDRESS, settings.listen.encode("ascii"))
    except DataUnusable as problem:  # `bpf-atlas login` then prints the address of the last time; all else goes on
        log.warning("%s", problem)
    static = assets.Assets(assets.folder("static"))
    app = Flask("app.web", template_folder=None, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, PROPAGATE_EXCEPTIONS=False)
    app.extensions["settings"] = settings
    app.extensions["client"] = client

    @app.before_request
    def _name_request() -> None:
        g.request_id = uuid.uuid4().hex
        gate.forget()

    gate.install(app, settings, client)
    drafts.install(app)
    errors.install(app)
    shared = app.extensions["backend"] = backend.connect(settings, client)
    rendering.install(app, assets.folder("templates"), static, shared)
    app.register_blueprint(assets.blueprint(static))
    app.register_blueprint(reports.blueprint(reports.Tally()))
    app.register_blueprint(login.blueprint(settings, client))
    app.register_blueprint(oidc.blueprint(settings, client, folder))
    app.register_blueprint(settings_page.blueprint(settings, client))
    app.register_blueprint(health.blueprint(client))
    for pages in (
        overview,
        entries,
        entry_page,
        schema_page,
        relations_page,
        edits,
        undo,
        api,
        audit_page,
        api_audit,
        api_edits,
        plans_page,
        schedule_page,
        snapshots_page,
        moment_page,
        series_page,
        api_snapshots,
        diff_page,
        restore_page,
        story_page,
        api_diff,
    ):
        app.register_blueprint(pages.blueprint(shared))

    @app.after_request
    def _tell_id(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "")
        return response

    app.wsgi_app = Doorway(app.wsgi_app, allowed(settings), hsts=settings.behind_tls)  # type: ignore[method-assign]
    return app
