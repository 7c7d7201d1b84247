"""Every route of an application with a path that reaches it."""

from __future__ import annotations

from flask import Flask
from werkzeug.routing import Rule


def path_of(rule: Rule) -> str:
    values = {name: "1" if "id" in name or "number" in name else "x" for name in rule.arguments}
    built = rule.build(values, append_unknown=False)
    assert built is not None
    return str(built[1])


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """(method, path, endpoint)."""
    return [
        (method, path_of(rule), rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
