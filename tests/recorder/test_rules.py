"""Rules: which map is recorded how, and what is said of a file that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.recorder.budget import BURST_S, CpuBudget, DiskBudget
from app.recorder.clock import Clock
from app.recorder.errors import BadRules
from app.recorder.rules import NEVER_S, load, parse
from app.settings import Settings

RULES = """
[[rule]]
maps = ["cilium_lb4_*"]
every = "5m"

[[rule]]
pins = ["/sys/fs/bpf/tc/*"]
entries = 1_000_000

[[rule]]
types = ["LRU_hash", "stack_trace"]
every = "never"
"""


@pytest.mark.parametrize(
    ("name", "pins", "kind", "interval_s", "entries"),
    [
        pytest.param("cilium_lb4_services", [], "lru_hash", 300, 65_536, id="the first that matches decides"),
        pytest.param("x", ["/sys/fs/bpf/tc/globals/x"], "hash", 60, 1_000_000, id="what it does not say is as without"),
        pytest.param("x", ["/run/y", "/sys/fs/bpf/tc/x"], "hash", 60, 1_000_000, id="of several pins one is enough"),
        pytest.param("ct4", [], "lru_hash", NEVER_S, 65_536, id="types in any case"),
        pytest.param("other", [], "hash", 60, 65_536, id="none matches"),
    ],
)
def test_a_map_is_recorded_as_its_rule_says(
    tmp_path: Path, name: str, pins: list[str], kind: str, interval_s: float, entries: int
) -> None:
    (tmp_path / "record.toml").write_text(RULES)
    pace = load(Settings(data=tmp_path)).pace(name, pins, kind)
    assert (pace.interval_s, pace.entries) == (interval_s, entries)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[[rule]]\nevery = 5", 'rule 1: every is "30s", "5m", "2h", "1d" or "never"', id="a number"),
        pytest.param('[[rule]]\nevery = "5 parsecs"', "rule 1: every is", id="a unit"),
        pytest.param("[[rule]]\n[[rule]]\nmap = 3", "rule 2: map is none of", id="a key"),
        pytest.param('[[rule]]\nmaps = "x"', "rule 1: maps is a list of patterns", id="no list"),
        pytest.param("[[rule]]\nentries = 0", "rule 1: entries is a whole number from 1", id="none"),
        pytest.param("[[rule]]\nentries = true", "rule 1: entries is a whole number from 1", id="a truth value"),
        pytest.param(f"rule = {'[' * 7000}", "it is nested too deeply", id="nested"),
        pytest.param(f"[[rule]]\nentries = {'9' * 5000}", "Exceeds the limit", id="a number without end"),
        pytest.param("[rules]", "rules is nothing that it may say", id="another table"),
        pytest.param("rule = 3", "rules are written as", id="no tables"),
        pytest.param("[[rule]", "line 1", id="no TOML"),
    ],
)
def test_a_mistake_is_told_and_all_is_recorded_as_without_rules(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "record.toml"
    path.write_text(text)
    with pytest.raises(BadRules, match=r"until it is mended") as raised:
        parse(text, path)
    assert said in str(raised.value)
    rules = load(Settings(data=tmp_path))
    assert rules.told == str(raised.value)
    assert rules.pace("x", [], "hash").interval_s == 60


def test_over_a_day_no_more_than_the_share_is_spent() -> None:
    budget = CpuBudget(share=0.01, now_s=0.0)
    spent = 0.0
    for second in range(86_400):
        budget.advance(float(second))
        while budget.is_open:  # there is always more work than may be done
            budget.spend(0.3)
            spent += 0.3
    assert spent == pytest.approx(864 + BURST_S, abs=1)
    assert budget.used_share == pytest.approx(0.01, rel=0.1)


def test_the_share_of_a_core_is_of_the_time_that_went_by() -> None:
    budget = CpuBudget(share=0.01, now_s=100.0)
    budget.advance(150.0)
    budget.spend(1.0)
    assert budget.used_share == 0.02
    budget.advance(1000.0)
    budget.spend(6.0)
    assert budget.used_share == 0.01


def test_room_on_disk_stretches_intervals_and_eases_again() -> None:
    disk = DiskBudget(1000, used_bytes=1001)
    assert disk.is_over
    for _ in range(10):
        disk.pressed(100.0)
    assert disk.stretch == 64
    disk.ease(200.0)
    assert disk.stretch == 64
    for hour in range(1, 100):
        disk.ease(100.0 + hour * 3600)
    assert disk.stretch == 1


@pytest.mark.parametrize("moved_s", [-7200.0, 86_400.0 * 365])
def test_nothing_goes_by_age_after_the_clock_was_set(moved_s: float) -> None:
    clock = Clock(1000.0, 1_000_000.0)
    assert clock.rests(1001.0)  # it has just started
    assert not clock.rests(2000.0)
    assert clock.look(2000.0, 1_002_000.5) == 0
    assert clock.look(2010.0, 1_002_010.0 + moved_s) == pytest.approx(moved_s, abs=1)
    assert "the clock was set" in clock.rests(2011.0)
    assert "the clock was set" in clock.rests(2010.0 + 86_000)
    assert not clock.rests(2010.0 + 87_000)
