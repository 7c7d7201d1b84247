"""Every name that the demo leaves on a host while it runs, so that the next start finds what a killed one left."""

from __future__ import annotations

from pathlib import Path

NAME = "bpf-atlas-demo"
CLIENT_NETNS = f"{NAME}-c"
SERVER_NETNS = f"{NAME}-s"
CLIENT_DEVICE = "atlas-client"
SERVER_DEVICE = "atlas-server"
NETNS_FOLDER = Path("/run/netns")
BPFFS = Path("/sys/fs/bpf")
PINS = BPFFS / NAME
STRUCT_OPS_PIN = PINS / "atlas_reno"
GUARD = f"\0{NAME}"
"""Abstract socket that the running demo listens on, so that there is one at a time."""
CGROUP = NAME
"""Folder directly below the cgroup v2 mount."""
CGROUP_MOUNT = Path("/run") / f"{NAME}-cgroup2"
"""Where cgroup v2 is mounted on a host that has it nowhere."""
CONGESTION = "bpf_atlas"
"""Name of the TCP congestion control; registered, never the default."""

CLIENT_ADDRESS = "10.77.0.1"
SERVER_ADDRESS = "10.77.0.2"
CLIENT_ALIASES = tuple(f"10.77.{net}.{host}" for net in (1, 2, 66) for host in range(1, 7))
"""Further addresses to send from; 10.77.66.0/24 is on the blocklist."""
BACKEND_ADDRESSES = tuple(f"10.77.8.{host}" for host in range(1, 6))
BACKEND_PORT = 8000
SERVICE_ADDRESSES = ("10.96.0.10", "10.96.0.80", "10.96.1.1")
SERVICE_PORTS = (53, 80, 443)

OBJECTS = (Path(__file__).resolve().parent.parent / "build" / "demo", Path(__file__).resolve().parent / "objects")
"""Where compiled programs are looked for: a checkout's build folder, an installed package's own."""
