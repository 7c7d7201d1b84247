"""`dump --json` of every map of the demo equals bpftool's `formatted`, live content and random values."""

from __future__ import annotations

import json
import sys

import pytest

from app.maps.kinds import kind_of
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
