"""bpftool's `formatted`, brought to the differences that INTERFACE.md names on purpose, and held against ours.

- a nameless member's members stand in their parent (bpftool nests them under "")
- bit fields and 128-bit numbers are integers with their sign (bpftool: hexadecimal strings without it)
- a backslash in a text is one (bpftool prints a line feed for it)
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

BPFTOOL = "/usr/sbin/bpftool"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object with what stands under "" moved up: bpftool repeats that name, so a dictionary would lose parts."""
    flat: dict[str, Any] = {}
    for name, value in pairs:
        flat.update(value if name == "" and isinstance(value, dict) else {name: value})
    return flat


def formatted(map_id: int) -> list[Any] | None:
    """Its entries, or None where it formats nothing (no BTF)."""
    done = subprocess.run([BPFTOOL, "-j", "map", "dump", "id", str(map_id)], capture_output=True, check=False)
    # It escapes the apostrophe, which JSON does not know.
    document = json.loads(done.stdout.replace(b"\\'", b"'"), object_pairs_hook=_object)
    if isinstance(document, dict):
        raise AssertionError(document)  # noqa: TRY004
    found = [entry["formatted"] for entry in document if "formatted" in entry]
    return found or None


def plain(map_id: int) -> list[Any]:
    """Its entries as lists of bytes."""
    done = subprocess.run([BPFTOOL, "-j", "map", "dump", "id", str(map_id)], capture_output=True, check=False)
    return [
        {"key": entry["key"], **({"values": entry["values"]} if "values" in entry else {"value": entry["value"]})}
        for entry in json.loads(done.stdout)
        if "key" in entry and ("value" in entry or "values" in entry)
    ]


def agrees(ours: Any, theirs: Any) -> bool:
    """The same reading, but for the named differences."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(
            # A list head's two words are addresses of the copy that was made for this very look-up: new each time.
            name == "__opaque" or agrees(ours[name], theirs[name])
            for name in ours
        )
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(agrees, ours, theirs))
    if isinstance(ours, int) and not isinstance(ours, bool) and isinstance(theirs, str) and theirs.startswith("0x"):
        apart = int(theirs, 16) - ours
        return apart == 0 or (ours < 0 and apart.bit_count() == 1)
    return type(ours) is type(theirs) and bool(_fed(ours) == _fed(theirs))


def _fed(part: Any) -> Any:
    """A text as bpftool prints it: a line feed where a backslash stands."""
    return part.replace("\\", "\n") if isinstance(part, str) else part


def key_of(entry: Any) -> str:
    """What identifies an entry in both lists."""

    def number(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: number(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [number(inner) for inner in part]
        return int(part, 16) if isinstance(part, str) and part.startswith("0x") else _fed(part)

    return json.dumps(number(entry.get("key")), sort_keys=True)


def disagreements(ours: list[Any], theirs: list[Any]) -> list[tuple[Any, Any]]:
    """Entries that differ, ours first; an entry that one side lacks is one, too."""
    left = {key_of(entry): entry for entry in ours}
    right = {key_of(entry): entry for entry in theirs}
    return [
        (left.get(key), right.get(key))
        for key in left.keys() | right.keys()
        if key not in left or key not in right or not agrees(left[key], right[key])
    ]
