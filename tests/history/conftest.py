"""A history of its own for each test, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.history.database import open_writing, sqlite_url
from app.history.writer import Writer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a server started for this run: its own directory, a socket and no port, nothing synced."""
    # Not below pytest's folder, which every run that begins closes to other users.
    with tempfile.TemporaryDirectory(prefix="atlas-postgresql-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the recorder's account has to reach the socket
        yield from _server(Path(folder))


def _server(folder: Path) -> Iterator[str]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is not installed: `make test` does that"
    user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*user, str(programs[-1] / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder
        )

    run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "-D", str(data))
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=200"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://postgres@/{{}}?host={folder}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@pytest.fixture
def fresh_postgresql(postgresql: str) -> Iterator[str]:
    """Address of an empty database."""
    yield from _database(postgresql, f"history_{next(_numbers)}")


@pytest.fixture(scope="session")
def made_postgresql(postgresql: str) -> Iterator[str]:
    """Name of a database that has its tables, to be copied."""
    name = "history_made"
    for address in _database(postgresql, name):
        open_writing(address, host="here").close()
        yield name


@pytest.fixture(scope="session")
def made_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables, to be copied."""
    path = tmp_path_factory.mktemp("made") / "history.db"
    open_writing(sqlite_url(path)).close()
    return path


def _database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    engine = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.format(name)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a history without snapshots, in a database of either kind."""
    if request.param == "sqlite":
        path = tmp_path / "history.db"
        shutil.copy(request.getfixturevalue("made_sqlite"), path)
        yield sqlite_url(path)
    else:
        server = request.getfixturevalue("postgresql")
        yield from _database(server, f"history_{next(_numbers)}", request.getfixturevalue("made_postgresql"))


@pytest.fixture
def writer(url: str) -> Iterator[Writer]:
    """A history to write."""
    writer = Writer(open_writing(url, host="here"))
    yield writer
    writer.close()
