"""Records as the broker writes them, for tests of the log."""

from __future__ import annotations

import time

from app.wire.records import NO_MAP, ActorFacts, AuditRecord, FieldRecord, MapIdentity

FLOWS = MapIdentity(7, "flows", 1, 4, 64, 1000, 0, 3, 4)
ANNA = ActorFacts("anna", "editor", "s1", "password", "10.0.0.1", 58470, 1234, "req-1")
STRANGER = ActorFacts("", "", "", "", "10.0.0.9", 58470, 1234, "req-2")
BOOT = "a7d4c5b0-1f6e-4d7c-9a43-0a3f0c8be7ff"


def intent(
    number: int = 0, *, actor: ActorFacts = ANNA, of: MapIdentity = FLOWS, reason: str = "a test", undo_of: int = 0
) -> AuditRecord:
    key = number.to_bytes(4, "little")
    return AuditRecord(
        at_ns=time.time_ns(),
        boot_id=BOOT,
        code="map.set.intent",
        actor=actor,
        map=of,
        map_tag="0123456789abcdef",
        action="set",
        key=key,
        fields=(FieldRecord("value.limit", 32, 32, -1, bytes(4), key, "0", str(number)),),
        old_value=bytes(64),
        reason=reason,
        undo_of=undo_of,
    )


def outcome(of: int, result: str = "done", code: str = "map.set.ok") -> AuditRecord:
    return AuditRecord(
        at_ns=time.time_ns(),
        boot_id=BOOT,
        code=code,
        actor=ANNA,
        map=FLOWS,
        action="set",
        intent=of,
        method="kernel_swap",
        result=result,
        duration_ns=310_000,
    )


def event(code: str, *, actor: ActorFacts = ANNA, detail: str = "", of: MapIdentity = NO_MAP) -> AuditRecord:
    return AuditRecord(at_ns=time.time_ns(), boot_id=BOOT, code=code, actor=actor, detail=detail, map=of)
