from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
FORBIDDEN = [
    (r"\sstyle\s*=", "an inline style, which the policy blocks"),
    (r"<style", "an inline stylesheet"),
    (r"<script(?![^>]*\ssrc=)", "an inline script"),
    (r"\son(?!ly)[a-z]+=[\"']", "an inline handler"),
    (r"\shx-on", "evaluated by htmx"),
    (r"js:", "evaluated by htmx"),
    (r"\|\s*safe\b", "unescaped text"),
    (r"autoescape", "a switch of escaping"),
    (r"hx-trigger=\"[^\"]*\[", "a trigger filter, evaluated by htmx"),
    (r"https?://(?!www\.w3\.org)", "a foreign address"),
]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT / "templates").as_posix())
def test_template_parses_and_holds_nothing_that_the_policy_forbids(path: Path, shell: Flask) -> None:
    source = path.read_text()
    shell.jinja_env.parse(source)
    for pattern, what in FORBIDDEN:
        assert not re.search(pattern, source), what
    if '{% extends "base.html" %}' in source:
        assert re.search(r"{% block title %}.+{% endblock %}", source)


def test_every_rendered_template_exists() -> None:
    names = {path.relative_to(ROOT / "templates").as_posix() for path in TEMPLATES}
    rendered = set()
    for module in (ROOT / "app" / "web").rglob("*.py"):
        rendered |= set(re.findall(r'"([a-z_/]+\.html)"', module.read_text()))
    for path in TEMPLATES:
        rendered |= set(re.findall(r'{% (?:include|extends|import|from) "([^"]+)"', path.read_text()))
    assert rendered == names


def test_scripts_of_ours_evaluate_nothing() -> None:
    for path in (ROOT / "static").glob("*.js"):
        assert not re.search(r"\beval\b|new Function|innerHTML|document\.write", path.read_text()), path.name


def test_scripts_and_style_stay_small() -> None:
    import gzip

    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in (ROOT / "static").rglob("*.js")}
    of_charts = {name for name in sizes if name.startswith(("uPlot", "chart"))}
    assert len(of_charts) == 2
    assert sum(sizes[name] for name in sizes.keys() - of_charts) <= 30 * 1024, "on every page"
    assert sum(sizes[name] for name in of_charts) <= 26 * 1024, "only where there is a chart"
    assert not any(name in (ROOT / "templates" / "base.html").read_text() for name in of_charts)
    assert len(gzip.compress((ROOT / "static" / "app.css").read_bytes(), 9)) <= 15 * 1024
