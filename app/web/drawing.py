"""A layout drawn to scale: eight bytes a row, each field as wide as it is long, padding hatched. Plain SVG attributes, no styles."""

from __future__ import annotations

from dataclasses import dataclass

from app.columns.plan import Plan

ROW_BYTES = 8
BYTE_PX = 90
ROW_PX = 44
LEFT_PX = 44
MAX_ROWS = 40
CHAR_PX = 7.4
LEAST_CHARS = 3


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of one field in one row."""

    x: int
    y: int
    width: int
    label: str
    kind: str
    title: str
    mark: str
    """`cell`, `cell alt` or `hole`."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes, row offsets, and what does not fit."""

    boxes: tuple[Box, ...]
    offsets: tuple[tuple[int, int], ...]
    """(byte offset, y)"""
    width: int
    height: int
    left_out_bytes: int


def draw(plan: Plan) -> Drawing | None:
    """The picture of one key or value; None where nothing is known but the bytes."""
    if not plan.typed:
        return None
    shown_bytes = min(plan.size_bytes, MAX_ROWS * ROW_BYTES)
    taken: list[int] = [-1] * (shown_bytes * 8)
    leaves = [node for node in plan.leaves() if node.size_bits]
    for index, node in enumerate(leaves):
        start = node.offset_bits
        end = min(start + node.size_bits, len(taken))
        if start < end and all(owner == -1 for owner in taken[start:end]):
            taken[start:end] = [index] * (end - start)
    boxes = []
    turns: dict[int, int] = {}
    labelled: set[int] = set()
    for row_start in range(0, len(taken), ROW_BYTES * 8):
        at = row_start
        row_end = min(row_start + ROW_BYTES * 8, len(taken))
        while at < row_end:
            owner = taken[at]
            end = at
            while end < row_end and taken[end] == owner:
                end += 1
            x = LEFT_PX + (at - row_start) * BYTE_PX // 8
            width = (end - at) * BYTE_PX // 8
            y = row_start // (ROW_BYTES * 8) * ROW_PX
            if owner < 0:
                size = (end - at) // 8
                boxes.append(
                    Box(
                        x,
                        y,
                        width,
                        "",
                        "",
                        f"padding: {size or f'{end - at} bits'}{' B' if size else ''} at byte {at // 8}",
                        "hole",
                    )
                )
            else:
                node = leaves[owner]
                turns.setdefault(owner, len(turns))
                first = owner not in labelled
                labelled.add(owner)
                name = node.path or node.type_name
                title = f"{name}: {node.type_name}, byte {node.offset_bytes}, {node.size_bits} bits"
                boxes.append(
                    Box(
                        x, y, width, _fit(name, width) if first else "", _fit(node.type_name, width, 6.4) if first else "",
                        title, "cell alt" if turns[owner] % 2 else "cell",
                    )
                )  # fmt: skip
            at = end
    rows = -(-shown_bytes // ROW_BYTES)
    offsets = tuple((row * ROW_BYTES, row * ROW_PX) for row in range(rows))
    return Drawing(
        tuple(boxes), offsets, LEFT_PX + ROW_BYTES * BYTE_PX + 2, rows * ROW_PX + 2, plan.size_bytes - shown_bytes
    )


def _fit(text: str, width_px: int, char_px: float = CHAR_PX) -> str:
    room = int((width_px - 10) / char_px)
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room >= LEAST_CHARS else ""
