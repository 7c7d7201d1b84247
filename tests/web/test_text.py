"""Messages as a page says them."""

from __future__ import annotations

import pytest

from app.web.text import sentence


@pytest.mark.parametrize(("message", "shown"), [
    ("no map #9 now; `bpf-atlas maps` lists them", "No map #9 now; <code>bpf-atlas maps</code> lists them."),
    ("column 3: a number was wanted", "Column 3: a number was wanted."),
    ("value.packets is no text", "value.packets is no text."),
    ("There is no such page.", "There is no such page."),
    ("<img> `<b>`", "&lt;img&gt; <code>&lt;b&gt;</code>."),
    ("one ` alone", "One ` alone."),
    ("turned \u202eround", "Turned \\u202eround."),
    ("", ""),
])  # fmt: skip
def test_sentences(message: str, shown: str) -> None:
    assert str(sentence(message)) == shown
