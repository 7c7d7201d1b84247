"""deploy/seccomp.json against what the processes do, and docs/container.md against what the tests give."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.uapi.confine import BROKER_COMMANDS, EDITOR_COMMANDS, READER_COMMANDS
from app.uapi.enums import BpfCmd
from tests.container.running import CAPABILITIES, ROOT, shipped_profile

AT_START = {BpfCmd.MAP_CREATE, BpfCmd.PROG_LOAD, BpfCmd.BTF_LOAD}
"""What the broker's probes and iterators take before it confines itself."""


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for rule in shipped_profile()["syscalls"] if name in rule["names"]]


def test_profile_lets_exactly_the_commands_through_that_are_used() -> None:
    allowed = {rule["args"][0]["value"] for rule in rules("bpf")}
    assert allowed == READER_COMMANDS | BROKER_COMMANDS | AT_START
    for rule in rules("bpf"):
        [argument] = rule["args"]
        assert (rule["action"], argument["index"], argument["op"]) == ("SCMP_ACT_ALLOW", 0, "SCMP_CMP_EQ")
        assert rule["comment"].startswith(f"BPF_{BpfCmd(argument['value']).name}")


def test_profile_lets_no_command_through_that_writes_a_map() -> None:
    allowed = {BpfCmd(rule["args"][0]["value"]) for rule in rules("bpf")}
    assert not [command for command in allowed if any(word in command.name for word in ("UPDATE", "DELETE", "FREEZE"))]


def test_the_profile_for_edits_adds_just_what_they_take() -> None:
    plain, editing = (
        json.loads((ROOT / "deploy" / name).read_text()) for name in ("seccomp.json", "seccomp-edits.json")
    )
    added = [rule for rule in editing["syscalls"] if rule not in plain["syscalls"]]
    assert [rule for rule in plain["syscalls"] if rule not in editing["syscalls"]] == []
    assert {rule["args"][0]["value"] for rule in added} == EDITOR_COMMANDS - BROKER_COMMANDS - AT_START
    for rule in added:
        assert rule["names"] == ["bpf"]
        assert rule["comment"].startswith(f"BPF_{BpfCmd(rule['args'][0]['value']).name}")
    assert {**plain, "syscalls": []} == {**editing, "syscalls": []}


def test_profile_refuses_by_default() -> None:
    profile = shipped_profile()
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)


@pytest.mark.parametrize(
    "name",
    ["mount", "umount2", "pivot_root", "setns", "unshare", "ptrace", "process_vm_writev", "init_module", "finit_module",
     "kexec_load", "perf_event_open", "open_by_handle_at", "keyctl", "io_uring_setup", "userfaultfd", "reboot", "mknod",
     "sethostname", "move_mount", "fsopen", "chroot", "pidfd_getfd", "swapon", "quotactl"],
)  # fmt: skip
def test_profile_takes_from_sys_admin_what_is_not_needed(name: str) -> None:
    assert rules(name) == []


def test_documented_capabilities_are_those_of_the_tests() -> None:
    text = (ROOT / "docs" / "container.md").read_text()
    added = re.findall(r"--cap-add[ =]([A-Z_]+)", text)
    assert sorted(f"CAP_{name}" for name in added) == sorted(CAPABILITIES)
    listed = re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)
    assert sorted(f"CAP_{name}" for name in listed) == sorted(CAPABILITIES)
