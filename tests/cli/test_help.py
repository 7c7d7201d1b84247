from __future__ import annotations

import pytest

from app.cli.main import COMMANDS
from tests.cli.conftest import Run


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_examples(run: Run, name: str, flag: str) -> None:
    done = run(name, flag)
    assert (done.status, done.complaint) == (0, "")
    assert done.text.startswith(f"Usage: bpf-atlas {name} ")
    examples = done.text.partition("Example")[2].partition("Options:")[0]
    assert f"\n    bpf-atlas {name}" in examples


def test_the_list_of_commands_has_each_with_its_line(run: Run) -> None:
    done = run("--help")
    assert done.status == 0
    for name, (_module, line) in COMMANDS.items():
        assert f" {name} {line}" in " ".join(done.text.split())


def test_the_line_in_the_list_is_the_one_that_the_command_begins_with(run: Run) -> None:
    from app.cli.main import group

    for name, (_module, line) in COMMANDS.items():
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert (command.help or "").startswith(line.rstrip("."))


def test_the_version(run: Run) -> None:
    assert run("--version").text.startswith("bpf-atlas, version ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nope", "No such command 'nope': see `bpf-atlas --help`"),
        ("dump", "Missing argument 'MAP': see `bpf-atlas dump --help`"),
        ("maps extra", "see `bpf-atlas maps --help`"),
        ("dump 1 --limit -1", "--limit"),
        ("dump 1 --limit some", "--limit"),
        ("dump 1 --nope", "--nope"),
        ("dump 1 --json --csv", "one form at a time: --json and --csv"),
        ("dump 1 --ndjson --parquet file", "one form at a time"),
        ("dump 1 --lens", "--lens goes with --json"),
        ("dump 1 --json --columns key", "JSON prints whole entries"),
        ("dump 1 --parquet file", "--parquet needs pyarrow"),
        ("serve --listen nowhere", "HOST:PORT"),
        ("serve --listen 127.0.0.1:99999", "HOST:PORT"),
        ("serve --listen 0.0.0.0:0", "0.0.0.0 is not loopback"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error_in_one_line(refuses, words: str, says: str) -> None:
    line = refuses(2, *words.split())
    assert line.startswith("bpf-atlas: ")
    assert says in line


def test_a_setting_in_the_environment_that_cannot_be_used_is_named(refuses) -> None:
    assert "BPF_ATLAS_THREADS" in refuses(2, "maps", env={"BPF_ATLAS_THREADS": "many"})


def test_no_command_at_all_prints_the_help(run: Run) -> None:
    done = run()
    assert done.status == 2
    assert "Commands:" in done.complaint
