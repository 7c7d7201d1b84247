"""A TCP congestion control in BPF (a struct_ops map): registered for as long as the demo runs, never the default."""

from __future__ import annotations

from demo.names import STRUCT_OPS_PIN
from demo.scene import Scene


def start(scene: Scene) -> None:
    """Pinned first: once registered, it outlives this process, and the next start must find it."""
    congestion = scene.load("congestion")
    registered = congestion.map("atlas_reno")
    registered.pin(STRUCT_OPS_PIN)
    scene.keep(congestion.attach_struct_ops("atlas_reno"))
