"""What each route needs, in one table. A route that is not in it is refused to everybody, and tests walk all of them."""

from __future__ import annotations

from enum import Enum


class Need(Enum):
    """Who may use a route; the value names the roles."""

    OPEN = frozenset({"", "viewer", "editor", "admin", "auditor"})
    """Also without a session."""
    SIGNED_IN = frozenset({"viewer", "editor", "admin", "auditor"})
    """Anybody with a session: facts about maps, one's own account."""
    VALUES = frozenset({"viewer", "editor", "admin"})
    """What maps hold."""
    AUDIT = frozenset({"editor", "admin", "auditor"})
    EDIT = frozenset({"editor", "admin"})
    """To begin an edit; what is then allowed is for the broker to say."""
    ADMIN = frozenset({"admin"})


NEEDS: dict[str, Need] = {
    "assets.static": Need.OPEN,
    "headers.csp_report": Need.OPEN,
    "health.healthz": Need.OPEN,
    "health.readyz": Need.OPEN,
    "login.form": Need.OPEN,
    "login.submit": Need.OPEN,
    "login.theme": Need.OPEN,
    "oidc.begin": Need.OPEN,
    "oidc.end": Need.OPEN,
    "login.logout": Need.SIGNED_IN,
    "login.elevate_form": Need.EDIT,
    "login.elevate": Need.EDIT,
    "login.drop": Need.EDIT,
    "settings.stay": Need.SIGNED_IN,
    "settings.show": Need.SIGNED_IN,
    "settings.password": Need.SIGNED_IN,
    "settings.session_end": Need.SIGNED_IN,
    "settings.token_make": Need.SIGNED_IN,
    "settings.token_revoke": Need.SIGNED_IN,
    "settings.user_add": Need.ADMIN,
    "settings.user_role": Need.ADMIN,
    "settings.user_remove": Need.ADMIN,
    "settings.user_password": Need.ADMIN,
    "overview.maps": Need.SIGNED_IN,
    "schema.show": Need.SIGNED_IN,
    "relations.show": Need.SIGNED_IN,
    "entries.show": Need.VALUES,
    "entry.show": Need.VALUES,
    "api.description": Need.SIGNED_IN,
    "api.maps": Need.SIGNED_IN,
    "api.one": Need.SIGNED_IN,
    "api.entries": Need.VALUES,
    "edits.form": Need.EDIT,
    "edits.preview": Need.EDIT,
    "edits.apply": Need.EDIT,
    "edits.create_form": Need.EDIT,
    "edits.create_preview": Need.EDIT,
    "edits.create": Need.EDIT,
    "edits.delete_form": Need.EDIT,
    "edits.delete": Need.EDIT,
    "edits.manage": Need.EDIT,
    "edits.act_preview": Need.EDIT,
    "edits.act": Need.EDIT,
    "edits.make_form": Need.EDIT,
    "edits.make": Need.EDIT,
    "api_edits.edit": Need.EDIT,
    "api_edits.undo": Need.EDIT,
    "audit.show": Need.AUDIT,
    "audit.one": Need.AUDIT,
    "audit.verify": Need.AUDIT,
    "audit.export": Need.AUDIT,
    "undo.form": Need.EDIT,
    "undo.apply": Need.EDIT,
    "api_audit.records": Need.AUDIT,
    "plans.index": Need.EDIT,
    "plans.form": Need.EDIT,
    "plans.make": Need.EDIT,
    "plans.show": Need.EDIT,
    "plans.step": Need.EDIT,
    "snapshots.index": Need.VALUES,
    "snapshots.export": Need.VALUES,
    "schedule.show": Need.VALUES,
    "schedule.change": Need.ADMIN,
    "snapshots.job": Need.VALUES,
    "snapshots.label": Need.EDIT,
    "snapshots.delete_form": Need.ADMIN,
    "snapshots.delete": Need.ADMIN,
    "moments.show": Need.VALUES,
    "moments.changes": Need.VALUES,
    "moments.entry": Need.VALUES,
    "series.show": Need.VALUES,
    "series.moment": Need.VALUES,
    "series.of_map": Need.VALUES,
    "series.take": Need.EDIT,
    "api_snapshots.listed": Need.VALUES,
    "api_snapshots.take": Need.EDIT,
    "api_snapshots.job": Need.VALUES,
    "api_snapshots.one": Need.VALUES,
    "api_snapshots.entries": Need.VALUES,
    "diff.show": Need.VALUES,
    "diff.ignore": Need.EDIT,
    "restore.show": Need.EDIT,
    "restore.make": Need.EDIT,
    "story.show": Need.VALUES,
    "story.find": Need.VALUES,
    "api_diff.diff": Need.VALUES,
}
"""Endpoint → who may."""
