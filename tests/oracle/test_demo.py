"""`dump --json` of every map of the demo equals bpftool's `formatted`, live content and random values."""

from __future__ import annotations

import json
import sys

import pytest

from app.maps.kinds import kind_of
from tests.cli.made import typed_map
from tests.oracle import bpftool
from tests.oracle.still import dump, fill_at_random, maps_of, stop_timers

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_every_map_of_the_demo():
    """With its programs gone nothing changes any more, so equal means equal to the last digit."""
    with maps_of([sys.executable, "-m", "demo"], run_s=6, at_least=60) as held:
        stop_timers(next(each for each in held if each.info.name == b"token_buckets"))
        compared: dict[str, int] = {}
        for randomly in (False, True):
            for each in held:
                if randomly and not fill_at_random(each, each.info.id):
                    continue
                if not kind_of(each.info.type).listable:
                    continue
                try:
                    theirs = bpftool.formatted(each.info.id)
                except json.JSONDecodeError:
                    # It breaks off in the middle of a document at the first float.
                    assert each.info.name == b"float_readings", each.label
                    continue
                if theirs is None:
                    continue
                assert bpftool.disagreements(dump(each.info.id), theirs) == [], each.label
                compared[each.info.name.decode()] = len(theirs)
    assert len(compared) >= 30, compared
    assert compared["flows"] > 0


TEXTS = """
struct name { char of[8]; };
struct note { char text[16]; };
int use(struct name *key, struct note *value) { return 0; }
"""


def test_a_backslash_in_a_text_is_the_known_difference():
    entries = [(b"\\v)".ljust(8, b"\0"), b"a\\b".ljust(16, b"\0")), (b"plain".ljust(8, b"\0"), b"c".ljust(16, b"\0"))]
    with typed_map(TEXTS, "name", "note", entries, key_size=8, value_size=16, name=b"oracle_text") as (_fd, map_id):
        theirs = bpftool.formatted(map_id)
        assert theirs is not None
        assert {each["key"]["of"] for each in theirs} == {"\nv)", "plain"}
        assert {each["key"]["of"] for each in dump(map_id)} == {"\\v)", "plain"}
        assert bpftool.disagreements(dump(map_id), theirs) == []
        assert bpftool.disagreements([{"key": {"of": "\\v)"}, "value": {"text": "other"}}], theirs) != []
