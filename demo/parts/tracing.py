"""Latency histograms, stacks and the storages of tasks, cgroups and files."""

from __future__ import annotations

import os
import struct
import time
from contextlib import ExitStack

from demo.errors import Refused
from demo.libbpf import Map, object_path
from demo.scene import U32, Scene

NOTES = struct.Struct("=QQQ24s")
NOTED = ("flow", "balancer", "latency", "zoo")


def start(scene: Scene) -> None:
    """Histograms of waiting, and what hangs on tasks."""
    pid = U32.pack(os.getpid())
    latency = scene.load("latency", prepare=lambda opened: opened.set_global(".rodata", "target_tgid", pid))
    latency.map("our_cgroup").update(U32.pack(0), U32.pack(scene.cgroup_fd))
    for program in latency.programs():
        scene.keep(program.attach())
    scene.pin(latency.map("runq_latency"))


def start_cgroup_storage(scene: Scene) -> None:
    """Since Linux 6.2."""
    cgrp = scene.load("cgrp")
    scene.keep(cgrp.program("on_cgroup_switch").attach())


def start_inode_storage(scene: Scene) -> None:
    """Keep notes on a few files of the demo; counted by an LSM program where the kernel takes one."""
    with ExitStack() as keeps:
        try:
            inode = scene.load("inode")
            scene.keep(inode.program("on_file_open").attach())
        except Refused as refused:
            scene.refused.append(f"LSM program on_file_open: {refused}; its map is filled by hand")
            inode = scene.load("inode", prepare=lambda opened: opened.skip("on_file_open"))
        notes = inode.map("file_notes")
        files = [os.open(object_path(name), os.O_RDONLY | os.O_CLOEXEC) for name in NOTED]
        for fd in files:
            keeps.callback(os.close, fd)
        _note(notes, files)
        scene.every(2, lambda: _note(notes, files))
        scene.resources.push(keeps.pop_all())


def _note(notes: Map, files: list[int]) -> None:
    for name, fd in zip(NOTED, files, strict=True):
        before = notes.lookup(U32.pack(fd), NOTES.size)
        opened = NOTES.unpack(before)[0] if before else 0
        value = NOTES.pack(opened + 1, time.monotonic_ns(), os.fstat(fd).st_size, name.encode())
        notes.update(U32.pack(fd), value)
