"""GET /api/v1/audit: records, newest first."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, make_response

from app.maps.recorded import record_facts
from app.web import gate
from app.web.api import shapes
from app.web.audit_state import read_state
from app.web.backend import Backend


def blueprint(backend: Backend) -> Blueprint:
    """The audit log for programs."""
    bp = Blueprint("api_audit", __name__, url_prefix="/api/v1")

    @bp.get("/audit")
    def records() -> Response:
        found = backend.client.records(read_state().question(gate.credential()))
        answer = {
            "records": [record_facts(each) for each in found.records],
            "before": found.before or None,
            "total": found.total,
        }
        response = make_response(msgspec.json.encode(msgspec.convert(answer, shapes.AuditRecords)))
        response.headers["Content-Type"] = "application/json"
        return response

    return bp
