"""Audit records as the command line, the API and the export print them, and pages of them as one stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.maps.errors import BadMoment
from app.uapi.enums import BpfMapType
from app.wire.ask import Client
from app.wire.records import AskRecords, FieldRecord, NumberedRecord

PAGE = 500
_AGO = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def record_facts(numbered: NumberedRecord) -> dict[str, Any]:
    """One record as a JSON object; null where something does not apply, bytes in hexadecimal."""
    record = numbered.record
    about = record.map
    return {
        "number": numbered.number,
        "chain": numbered.chain,
        "at": iso(record.at_ns),
        "at_ns": record.at_ns,
        "code": record.code,
        "user": record.actor.user,
        "role": record.actor.role,
        "how": record.actor.how,
        "session": record.actor.session,
        "source": record.actor.source,
        "uid": record.actor.uid,
        "pid": record.actor.pid,
        "request_id": record.actor.request_id,
        "approved_by": record.actor.approved_by,
        "map": {
            "id": about.id,
            "name": about.name,
            "type": type_name(about.type),
            "key_size": about.key_size,
            "value_size": about.value_size,
            "max_entries": about.max_entries,
            "flags": about.map_flags,
            "btf_id": about.btf_id,
            "tag": record.map_tag,
        }
        if about.is_map
        else None,
        "action": record.action,
        "key": record.key.hex() if about.is_map else None,
        "owner": record.owner,
        "fields": [_field(field) for field in record.fields],
        "old_value": _hex(record.old_value),
        "new_value": _hex(record.new_value),
        "detail": record.detail,
        "reason": record.reason,
        "intent": record.intent or None,
        "undo_of": record.undo_of or None,
        "plan": record.plan or None,
        "method": record.method,
        "result": record.result,
        "duration_ns": record.duration_ns,
        "redacted": record.redacted,
        "boot_id": record.boot_id,
    }


def _field(field: FieldRecord) -> dict[str, Any]:
    return {
        "path": field.path,
        "offset_bits": field.offset_bits,
        "size_bits": field.size_bits,
        "cpu": field.cpu if field.cpu >= 0 else None,
        "old": _hex(field.old),
        "new": _hex(field.new),
        "old_text": field.old_text,
        "new_text": field.new_text,
        "redacted": field.redacted,
    }


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def type_name(number: int) -> str:
    """`lru_hash`; `type_99` for one that this release does not know."""
    try:
        return BpfMapType(number).name.lower()
    except ValueError:
        return f"type_{number}"


def iso(at_ns: int) -> str:
    """`2026-11-24T18:03:11.042Z`, of CLOCK_REALTIME."""
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ns // 1_000_000 % 1000:03d}Z"


def moment_ns(text: str, now_ns: int) -> int:
    """CLOCK_REALTIME of an ISO time (UTC unless it says otherwise), or of `30s`, `10m`, `2h`, `3d` ago.

    raises  BadMoment
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return max(1, now_ns - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000_000)
    try:
        at = datetime.fromisoformat(text.strip())
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max(1, int(at.timestamp() * 1_000_000) * 1000)
    except (ValueError, OverflowError):
        raise BadMoment(text) from None


def every(client: Client, question: AskRecords, limit: int) -> Iterator[NumberedRecord]:
    """Records that fit, newest first, fetched a page at a time; `limit` 0: all of them."""
    left = limit or 1 << 62
    while left:
        page = client.records(msgspec.structs.replace(question, limit=min(left, PAGE)))
        yield from page.records
        left -= len(page.records)
        if not page.before:
            return
        question = msgspec.structs.replace(question, before=page.before)


def lines(client: Client, question: AskRecords, limit: int) -> Iterator[bytes]:
    """The same as JSON, a record a line."""
    encode = msgspec.json.Encoder().encode
    for each in every(client, question, limit):
        yield encode(record_facts(each)) + b"\n"
