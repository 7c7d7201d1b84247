"""WCAG AA, computed: text 4.5 to 1 on every ground that it stands on, marks 3 to 1, in both themes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "static" / "app.css").read_text()
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)
}
TEXT = [(text, ground) for text in ("ink", "soft", "faint") for ground in ("paper", "sheet", "raised")] + [
    ("accent", "accent-soft"), ("accent", "sheet"), ("on-accent", "accent"), ("add", "sheet"), ("add", "paper"), ("del", "sheet"),
    ("mod", "sheet"), ("mod", "paper"), ("mod", "raised"), ("ink", "del-soft"), ("ink", "mod-soft"), ("soft", "mod-soft"), ("soft", "accent-soft"),
]  # fmt: skip
MARKS = [(family, ground) for family in ("hash", "array", "percpu", "lru", "trie", "nest", "prog", "sock", "queue", "ring", "store", "arena", "accent", "edge", "soft", "mod", "del")
         for ground in ("paper", "sheet", "raised")]  # fmt: skip


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "ground", "least"), [(*pair, 4.5) for pair in TEXT] + [(*pair, 3.0) for pair in MARKS]
)
def test_contrast(front: str, ground: str, least: float, theme: int) -> None:
    assert ratio(COLOURS[front][theme], COLOURS[ground][theme]) >= least
