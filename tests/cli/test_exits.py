from __future__ import annotations

import os
import subprocess

import pytest

from app.uapi import objects
from app.uapi.enums import BpfMapFlag, BpfMapType
from tests.cli.conftest import COMMAND, ROOT, Run, environment
from tests.cli.made import bare_map, flow, flow_key, flows

pytestmark = pytest.mark.kernel


def gone() -> int:
    with bare_map() as map_id:
        return map_id


@pytest.mark.parametrize("command", ["dump", "show"])
def test_a_map_that_is_not_there(refuses, command: str) -> None:
    assert "no map #" in refuses(1, command, gone())
    assert "no map #0 " in refuses(1, command, 0)
    assert "no map named cli_nobody " in refuses(1, command, "name:cli_nobody")
    assert "/sys/fs/bpf/cli_nobody" in refuses(1, command, "/sys/fs/bpf/cli_nobody")
    assert "not the path of a pin" in refuses(1, command, "/etc/passwd")
    assert "not the path of a pin" in refuses(1, command, "/sys/fs/bpf/../../../etc/passwd")


@pytest.mark.parametrize("reference", ["", "flows", "12x", "-1x", "99999999999", "name", "\u202e12", "1 2"])
def test_a_reference_that_is_none(refuses, reference: str) -> None:
    assert "give an id (12), a pin path (/sys/fs/bpf/...) or name:NAME" in refuses(2, "dump", "--", reference)


def test_an_ambiguous_name_lists_the_ids(refuses) -> None:
    with bare_map(name=b"cli_twins") as one, bare_map(name=b"cli_twins") as other:
        line = refuses(1, "dump", "name:cli_twins")
    assert line == f"bpf-atlas: 2 maps are named cli_twins: say which by id, one of {one}, {other}"


def test_a_pin_of_a_program_is_no_map(refuses, bpffs) -> None:
    from app.uapi import loading

    prog = loading.prog_load(loading.ProgSpec(type=1, insns=bytes.fromhex("b700000000000000 9500000000000000")))
    pin = bpffs / "a_program"
    objects.obj_pin(str(pin), prog)
    os.close(prog)
    try:
        assert "pins no map" in refuses(1, "dump", pin, env={"BPF_ATLAS_BPFFS": str(bpffs)})
    finally:
        pin.unlink()


@pytest.mark.parametrize(
    ("where", "column", "says"),
    [
        ("value.packets >> 3", 16, "was wanted, found '>'"),
        ("value.packets > 3 and value.nope == 1", 23, "no field value.nope"),
        ("value.packets >", 16, "found the end"),
        ("'x", 1, "no quote ends"),
        ("value.packets > 3 )", 19, "not expected here"),
        ("   ", 1, "a condition is missing"),
        ("value.comm", 1, "alone is no condition"),
        ("value.packets = 10.0.0.0/33", 17, "at most 32 bits"),
        ("(" * 100 + "value.packets>1", 52, "more than 50"),
    ],
)
def test_a_bad_filter_says_in_which_column(refuses, where: str, column: int, says: str) -> None:
    with flows([(flow_key("10.0.0.1", 80), flow(1))]) as map_id:
        line = refuses(2, "dump", map_id, "--where", where)
    assert line.startswith(f"bpf-atlas: column {column}: ")
    assert says in line


@pytest.mark.parametrize(
    "options", [("--sort", "value.nope"), ("--csv", "--columns", "value.nope"), ("--columns", "value.nope")]
)
def test_an_unknown_path_names_what_there_is(refuses, options: tuple[str, ...]) -> None:
    with flows([(flow_key("10.0.0.1", 80), flow(1))]) as map_id:
        assert "no field value.nope; did you mean" in refuses(2, "dump", map_id, *options)


def test_a_bad_filter_is_one_for_an_empty_map_as_well(refuses) -> None:
    with flows() as map_id:
        assert "no field value.nope" in refuses(2, "dump", map_id, "--where", "value.nope > 1")
        assert "no field value.nope" in refuses(2, "dump", map_id, "--sort", "value.nope")
        assert "no field value.nope" in refuses(2, "dump", map_id, "--csv", "--columns", "value.nope")
        assert "no field value.nope" in refuses(2, "dump", map_id, "--columns", "value.nope")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"type": BpfMapType.BLOOM_FILTER, "key_size": 0}, "surely not, or maybe", id="bloom filter"),
        pytest.param({"type": BpfMapType.PERF_EVENT_ARRAY, "value_size": 4}, "perf events", id="perf events"),
        pytest.param({"type": BpfMapType.CGROUP_ARRAY, "value_size": 4}, "never gives back", id="cgroups"),
        pytest.param({"type": BpfMapType.XSKMAP, "value_size": 4}, "AF_XDP", id="AF_XDP sockets"),
        pytest.param(
            {"type": BpfMapType.ARENA, "key_size": 0, "value_size": 0, "flags": BpfMapFlag.MMAPABLE}, "never mapped", id="arena"
        ),
    ],
)  # fmt: skip
def test_a_type_that_cannot_be_listed(refuses, run: Run, spec: dict, says: str) -> None:
    with bare_map(**spec) as map_id:
        assert says in refuses(3, "dump", map_id, "--json")
        assert run("show", map_id).status == 0


# A user who may do nothing but find the interpreter, wherever it is installed.
NOBODY = [
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search",
]  # fmt: skip


def as_nobody(data, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NOBODY, *COMMAND, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={**environment(data), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [["maps"], ["maps", "--json"], ["show", "1"], ["dump", "1"], ["doctor"], ["serve"], ["demo"]]
)
def test_without_root_and_without_a_service(no_service, words: list[str]) -> None:
    done = as_nobody(no_service, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert "root" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [["maps"], ["doctor"], ["login"]])
def test_without_root_at_a_service_that_is_not_for_everybody(service, words: list[str]) -> None:
    done = as_nobody(service.data, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"bpf-atlas: this user may not ask the service at {service.data}/broker.sock: run as root\n"


def test_login_without_a_service(refuses) -> None:
    assert "no dashboard runs with the data directory" in refuses(1, "login")


def test_doctor_says_what_works(run: Run) -> None:
    done = run("doctor", "--json")
    assert done.status == 0
    works = {one["name"]: one["works"] for one in done.document["capabilities"]}
    assert works["bpf"]
    assert works["list"]
    assert works["open"]
    text = run("doctor").text
    assert all(f"ok  {name}: " in text for name, good in works.items() if good)
