"""The shape of the code: sizes, names, imports, and that no error of ours is without an answer."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import app
import demo
from app.broker.errors import BrokerError
from app.cli import exits
from app.cli.main import COMMANDS
from app.errors import AppError, NeedsRights
from app.web.errors import STATUS

ROOT = Path(__file__).resolve().parents[1]
LIMIT_LINES = 400
GENERATED = {"app/uapi/_abi.py"}
MODULES = sorted(path for room in ("app", "demo") for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Every text file of the project."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:  # an unpacked archive, or somebody else's checkout
        folders = ("app", "demo", "tests", "docs", "templates", "bench", "tools", "deploy")
        return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_400_lines_and_says_what_it_is(path: Path) -> None:
    source = path.read_text()
    if name_of(path) in GENERATED:
        return
    assert source.count("\n") <= LIMIT_LINES
    if source.strip():
        assert ast.get_docstring(ast.parse(source)), "no docstring"


def test_names_of_modules_are_nouns_of_this_field() -> None:
    assert {path.stem for path in MODULES}.isdisjoint({"utils", "util", "helpers", "common", "misc", "manager", "base"})


TEXTS = {
    ".py",
    ".md",
    ".html",
    ".css",
    ".js",
    ".toml",
    ".txt",
    ".sh",
    ".mk",
    ".c",
    ".h",
    ".yaml",
    ".yml",
    "",
    ".service",
}


def test_nothing_is_left_to_do_and_no_machine_is_named() -> None:
    # Put together here, so that this file does not find itself.
    unwanted = re.compile(
        "|".join(
            [r"\bTO" + "DO\b", r"\bFIX" + "ME\b", r"\bXX" + r"X\b", "/home" + r"/\w", "/wo" + "rk/", "/Use" + "rs/"]
        )
    )
    found = []
    for path in tracked():
        if path.suffix not in TEXTS or "vendor" in path.parts or path.name.endswith(".min.js"):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name_of(path)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if unwanted.search(line)
        ]
    assert found == []


def leaves() -> list[type[AppError]]:
    """Every error of ours that nothing is derived from."""
    for package in (app, demo):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith(("__main__", "._build", "_prototypes")):
                importlib.import_module(module.name)

    def below(cls: type[AppError]) -> list[type[AppError]]:
        subs = cls.__subclasses__()
        return [leaf for sub in subs for leaf in below(sub)] if subs else [cls]

    ours = {leaf for leaf in below(AppError) if leaf.__module__.startswith(("app.", "demo."))}
    return sorted(ours, key=lambda cls: f"{cls.__module__}.{cls.__name__}")


INTERNAL = {"BufferTooShort", "NotConfined"}
"""A bug of ours, found before it does harm; a process that cannot give up its rights and so does not start."""
ELSEWHERE = ("app.cli.", "demo.", "app.broker.", "app.recorder.")
"""Processes whose errors no browser ever sees."""


def test_every_error_has_a_status_over_http() -> None:
    missing = [
        cls.__name__
        for cls in leaves()
        if not cls.__module__.startswith(ELSEWHERE)
        and cls.__name__ not in INTERNAL
        and not any(each in STATUS for each in cls.__mro__)
    ]
    assert missing == []


def test_every_error_has_an_exit_status() -> None:
    for cls in leaves():
        error = cls.__new__(cls)
        assert exits.status_of(error) in {exits.NOT_SO, exits.USAGE, exits.REFUSED}
        if isinstance(error, NeedsRights):
            assert exits.status_of(error) == exits.REFUSED


def test_errors_derive_from_the_one_base_of_their_room() -> None:
    bases = {
        "app.btf": "BtfError", "app.columns": "ColumnsError", "app.uapi": "KernelError", "app.wire": "WireError",
        "app.broker": "BrokerError", "app.maps": "MapsError", "app.web": "WebError", "app.cli": "CliError", "demo": "DemoError",
    }  # fmt: skip
    for cls in leaves():
        room = next((room for room in bases if cls.__module__.startswith(room + ".")), None)
        if room is None or cls.__name__ in INTERNAL or cls.__name__.startswith("_"):
            continue
        assert bases[room] in {each.__name__ for each in cls.__mro__}, cls
    assert issubclass(BrokerError, AppError)


def test_no_error_is_an_assertion() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{name_of(path)}:{node.lineno}"


def loaded_by(*words: str) -> set[str]:
    """Modules that a command has imported when it ends."""
    source = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write('\\nMODULES ' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['bpf-atlas', *{list(words)!r}]\n"
        "from app.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    return set(done.stderr.rpartition("\nMODULES ")[2].split())


HEAVY = {"numpy", "flask", "jinja2", "werkzeug", "gunicorn", "orjson", "pyarrow"}


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("--help")
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY | {"msgspec", "cffi", "app.uapi", "app.maps", "app.broker", "app.web"})


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "dump"])
def test_help_of_a_command_loads_no_numpy_and_no_flask(name: str) -> None:
    assert loaded_by(name, "--help").isdisjoint(HEAVY)


@pytest.mark.kernel
@pytest.mark.parametrize("words", [["maps"], ["maps", "--json"], ["doctor"], ["login"]])
def test_what_reads_no_entries_needs_no_numpy(words: list[str], tmp_path: Path) -> None:
    assert loaded_by(*words, "--data", str(tmp_path)).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("room", "unwanted"),
    [
        ("app.broker.__main__", HEAVY | {"pickle", "app.columns", "app.history", "sqlalchemy"}),
        ("app.recorder.__main__", {"flask", "gunicorn", "jinja2", "pyarrow", "app.web", "app.broker"}),
    ],
)
def test_processes_beside_the_web_stay_small(room: str, unwanted: set[str]) -> None:
    source = f"import sys, importlib; importlib.import_module({room!r}); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()).isdisjoint(unwanted)


def test_commands_are_modules_and_modules_are_commands() -> None:
    assert {module for module, _line in COMMANDS.values()} == {f"app.cli.{name}" for name in COMMANDS}
    plumbing = {
        "__init__", "changed", "compared", "errors", "exits", "layout", "main", "past", "progress", "schedule", "service", "story",
        "supervise",
    }  # fmt: skip
    assert {path.stem for path in (ROOT / "app" / "cli").glob("*.py")} == set(COMMANDS) | plumbing


def test_tests_mirror_the_rooms() -> None:
    rooms = {
        path.name for path in (ROOT / "app").iterdir() if path.is_dir() and path.name not in {"__pycache__", "recorder"}
    }
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir()}
