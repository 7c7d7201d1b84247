"""Programs of the demo's own cgroup, in which this process and so all its sockets are."""

from __future__ import annotations

from demo.scene import Scene


def start(scene: Scene) -> None:
    """Count what goes in and out; put each connected socket into a hash."""
    cgroup = scene.load("cgroup")
    for program in cgroup.programs():
        scene.keep(program.attach_cgroup(scene.cgroup_fd))
