"""Commands run within the test's own process: the same console script, without a second for its imports each time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.cli import main
from tests.cli.conftest import Done, folder

ON = {"BPF_ATLAS_ALLOW_EDITS": "1"}


class Within:
    """`bpf-atlas WORDS` with a data directory of its own and without a service."""

    def __init__(self, data: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.data = data
        self._capture = capture

    def __call__(self, *words: object, data: Path | None = None, env: Mapping[str, str] = {}) -> Done:
        self._capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bpf-atlas", *map(str, words)])
            patch.setenv("BPF_ATLAS_DATA", str(data or self.data))
            for name, value in env.items():
                patch.setenv(name, value)
            interval_s = sys.getswitchinterval()
            with pytest.raises(SystemExit) as left:
                main.main()
            sys.setswitchinterval(interval_s)
        out, said = self._capture.readouterr()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, out, said.decode())

    def done(self, *words: object, **options: object) -> Done:
        """One that must succeed."""
        done = self(*words, **options)  # type: ignore[arg-type]
        assert done.status == 0, done
        return done

    def refused(self, status: int, *words: object, **options: object) -> str:
        """The one line of one that must fail with that status, and print nothing else."""
        done = self(*words, **options)  # type: ignore[arg-type]
        assert (done.status, done.raw) == (status, b""), done
        assert done.complaint.endswith("\n")
        assert done.complaint.count("\n") == 1, done.complaint
        return done.complaint.rstrip("\n")

    def snapshot(self, map_id: int) -> str:
        """The reference of a new one."""
        return self.done("snapshot", map_id).text.strip()


@pytest.fixture
def within(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Within]:
    """Run commands in this process; import it where it is used."""
    with folder() as path:
        yield Within(path / "data", capfdbinary)
