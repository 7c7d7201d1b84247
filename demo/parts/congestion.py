"""A TCP congestion control in BPF (a struct_ops map): registered for as long as the demo runs, never the default."""

from __future__ import annotations

from demo.names import STRUCT_OPS_PIN
from demo.scene import U32, Scene

EVENTS = 5
"""Enumerators of ``enum congestion_event``."""


def start(scene: Scene) -> None:
    """Pinned first: once registered, it outlives this process, and the next start must find it."""
    congestion = scene.load("congestion")
    for event in range(EVENTS):
        congestion.map("congestion").update(U32.pack(event), bytes(8))
    registered = congestion.map("atlas_reno")
    registered.pin(STRUCT_OPS_PIN)
    scene.keep(congestion.attach_struct_ops("atlas_reno"))
