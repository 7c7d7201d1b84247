"""Which map is recorded how often, as it is or as it would be under other rules."""

from __future__ import annotations

import logging
from dataclasses import replace

from app.recorder import rules
from app.recorder.errors import BadRules
from app.recorder.record import Recorded, Recorder, why_not
from app.recorder.rules import NEVER_S, PAGE, Rules
from app.recorder.vouching import By, author
from app.wire import recorder as wire
from app.wire.errors import Declined
from app.wire.recorder import MOST_RULES_CHARS, Paced, ScheduleFacts

log = logging.getLogger("bpf_atlas.recorder")

PAGE_MAPS = 100
"""Told of in one answer."""


def schedule(recorder: Recorder, asked: wire.AskSchedule) -> ScheduleFacts:
    """Some of the maps, by id. raises Declined where the rules to be tried have a mistake"""
    now = recorder.rules
    tried = now if asked.rules is None else _parsed(recorder, asked.rules)
    every = sorted([*recorder.maps.values()], key=lambda each: each.row.facts.id)
    some = every[asked.first : asked.first + PAGE_MAPS]
    return ScheduleFacts(
        rules=now.text[:MOST_RULES_CHARS],
        source=now.source,
        told=now.told,
        file=str(recorder.settings.within(recorder.settings.record_rules)),
        default_s=now.default.interval_s,
        default_entries=now.default.entries,
        total=len(every),
        maps=tuple(_paced(each, tried) for each in some),
    )


def set_rules(recorder: Recorder, asked: wire.AskRules, by: By) -> wire.Done:
    """Keep rules in the history, heeded from now on. By the thread that writes. raises Declined"""
    if recorder.rules.source == "file":
        where = recorder.settings.within(recorder.settings.record_rules)
        raise Declined(f"{where} says which maps are recorded: change that file, or take it away")
    found = _parsed(recorder, asked.rules)
    who = author(recorder.client, by, asked.credential, "rules", f"{len(found.rules)}: {asked.rules}")
    recorder.writer.note(rules.note_of(recorder.host), asked.rules.encode())
    log.warning("%s set the rules of recording, %d", who, len(found.rules))
    recorder.look_again()
    return wire.Done(len(found.rules))


def _parsed(recorder: Recorder, text: str) -> Rules:
    if len(text) > MOST_RULES_CHARS:
        raise Declined(f"rules are at most {MOST_RULES_CHARS:,} characters")
    try:
        found = rules.parse(text, PAGE)
    except BadRules as problem:
        raise Declined(problem.reason) from problem
    return replace(recorder.rules, rules=found)


def _paced(each: Recorded, tried: Rules) -> Paced:
    row, pace = each.row, tried.pace(each.row.facts.name, [pin.path for pin in each.row.pins], each.row.kind.name)
    return Paced(
        map_id=row.facts.id,
        series_id=each.series.id,
        entries=row.entries,
        now_s=0.0 if each.pace.interval_s == NEVER_S else each.pace.interval_s,
        interval_s=0.0 if pace.interval_s == NEVER_S else pace.interval_s,
        lately_s=each.actual_s if each.is_stretched else 0.0,
        by=pace.by,
        why_not=why_not(row, pace) or each.fault,
    )
