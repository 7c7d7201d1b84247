"""What a terminal gets: nothing that steers it, progress only there, and quiet when nobody reads on."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from app.uapi.enums import BpfMapType
from tests.cli.conftest import COMMAND, ROOT, Run, environment
from tests.cli.made import bare_map, flow, flow_key, flows
from tests.livemaps import u32, u64

pytestmark = pytest.mark.kernel

HOSTILE = [
    b"\x1b[31mred",
    b"\x1b]0;title\x07",
    "\u202etxt.exe".encode(),
    b"two\nlines",
    b"a\rb",
    b"\x9b1m",
    b"<img onerror>",
    b"\xff\xfe\xfd",
]
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("form", [[], ["--json"], ["--ndjson"], ["--csv"], ["--json", "--lens"]])
def test_text_from_strangers_steers_nothing(run: Run, form: list[str]) -> None:
    entries = [(flow_key("10.0.0.1", n), flow(n, comm)) for n, comm in enumerate(HOSTILE)]
    with flows(entries) as map_id:
        done = run("dump", map_id, *form)
    assert done.status == 0
    assert not STEERS.search(done.text)
    assert (
        len(done.text.splitlines())
        == len(entries) + {"": 1, "--json": 2, "--ndjson": 0, "--csv": 2}[form[0] if form else ""]
    )


def test_names_of_processes_and_pins_steer_nothing(run: Run, bpffs: Path) -> None:
    from app.uapi import objects

    pin = bpffs / "\x1b[31m\u202epin"
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    with flows(name="cli_hostile") as map_id:
        fd = objects.map_get_fd_by_id(map_id)
        try:
            comm.write_bytes(b"\x1b[31m\nx")
            objects.obj_pin(str(pin), fd)
            env = {"BPF_ATLAS_BPFFS": str(bpffs)}
            for words in (["maps"], ["show", map_id]):
                text = run(*words, env=env).text
                assert not STEERS.search(text)
                assert "\\x1b[31m\\u202epin" in text
                assert "\\x1b[31m\\nx" in text
            (row,) = [row for row in run("maps", "--json", env=env).document if row["id"] == map_id]
            assert row["pins"] == [str(pin)]
            assert "\x1b[31m\nx" in {pid["comm"] for pid in row["pids"]}
        finally:
            comm.write_bytes(before)
            os.close(fd)
            pin.unlink(missing_ok=True)


def test_errors_repeat_nothing_that_steers(refuses) -> None:
    assert not STEERS.search(refuses(1, "dump", "name:\x1b[31m\u202e\r\n"))
    assert not STEERS.search(refuses(2, "dump", "\x1b[31m\n"))
    assert not STEERS.search(refuses(2, "\x1b[31m\n"))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("form", ["--json", "--ndjson", "--csv"])
def test_nobody_reads_on(no_service: Path, form: str, unbuffered: str) -> None:
    with bare_map([(u32(n), u64(n)) for n in range(30_000)], max_entries=30_000) as map_id, subprocess.Popen(
        [*COMMAND, "dump", str(map_id), form], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(no_service, {"PYTHONUNBUFFERED": unbuffered}),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_a_full_disk_is_told_in_one_line(no_service: Path) -> None:
    for words in (["maps", "--json"], ["doctor"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*COMMAND, *words], cwd=ROOT, env=environment(no_service), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == "bpf-atlas: the output cannot be written: No space left on device\n"


def on_a_terminal(no_service: Path, *words: object) -> tuple[bytes, bytes]:
    """(stdout, stderr) of a command whose stderr is a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *map(str, words)], cwd=ROOT, env=environment(no_service), stdout=subprocess.PIPE, stderr=follower
    ) as process:  # fmt: skip
        os.close(follower)
        assert process.stdout is not None
        said, out, end_s = b"", b"", time.monotonic() + 120
        open_ends = {leader, process.stdout.fileno()}
        while open_ends and time.monotonic() < end_s:
            for fd in select.select(list(open_ends), [], [], 1)[0]:
                try:
                    data = os.read(fd, 1 << 20)
                except OSError:  # EIO: nobody has the other end any more
                    data = b""
                if not data:
                    open_ends.discard(fd)
                elif fd == leader:
                    said += data
                else:
                    out += data
        assert process.wait(30) == 0
    os.close(leader)
    return out, said


@pytest.mark.slow
def test_a_long_read_says_how_far_it_is_on_a_terminal_alone(no_service: Path, run: Run) -> None:
    # Each slot of a program array is looked up: well over the second after which something is said.
    with bare_map(type=BpfMapType.PROG_ARRAY, value_size=4, max_entries=1_500_000) as map_id:
        out, said = on_a_terminal(no_service, "dump", map_id, "--json")
        piped = run("dump", map_id, "--json")
    assert re.search(rb"\r\x1b\[Kreading map %d: [0-9,]+ entries" % map_id, said)
    assert said.endswith(b"\r\x1b[K")
    assert out == piped.raw == b"[]\n"
    assert piped.complaint == ""


def test_a_short_read_says_nothing_on_a_terminal_either(no_service: Path) -> None:
    with bare_map([(u32(1), u64(1))]) as map_id:
        out, said = on_a_terminal(no_service, "dump", map_id, "--json")
    assert out.startswith(b"[\n{")
    assert said == b""
