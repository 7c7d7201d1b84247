"""A field edited through the web, against an empty POST to the same server; and the compare-and-swap alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import requests

from app.broker.swap.edit import Edit
from app.broker.swap.field import Field
from app.broker.swap.run import run
from app.broker.swap.target import target_of
from app.uapi import loading, objects
from app.uapi.enums import BpfMapType
from app.uapi.syscall import MapSpec, map_create, map_lookup, map_update
from bench.table import Row
from bench.types import btf_of

ROOT = Path(__file__).resolve().parents[1]
KEY = (7).to_bytes(4, "little")
PASSWORD = "bench password 4411"
C = "struct v { unsigned long long packets; unsigned int limit; unsigned int state; }; int f(struct v *p) { return 0; }"
LIMIT = Field(offset_bits=64, size_bits=32)


class Forms(HTMLParser):
    """Every form of a page: where it goes, and what it would send."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        elif tag == "input" and self.forms and given.get("name") and given.get("type") not in {"checkbox", "radio"}:
            self.forms[-1][1][given["name"]] = given.get("value", "")

    def to(self, ending: str) -> tuple[str, dict[str, str]]:
        return next(form for form in self.forms if form[0].endswith(ending))


@contextlib.contextmanager
def edited_map() -> Iterator[int]:
    """A hash whose values are `struct v`."""
    data, ids = btf_of(C, "v", "unsigned int")
    btf_fd = loading.btf_load(data)
    spec = MapSpec(
        type=BpfMapType.HASH, key_size=4, value_size=16, max_entries=16, name=b"bench_edit", btf_fd=btf_fd,
        btf_key_type_id=ids["unsigned int"], btf_value_type_id=ids["v"],
    )  # fmt: skip
    map_fd = map_create(spec)
    os.close(btf_fd)
    map_update(map_fd, KEY, bytes(16))
    try:
        yield map_fd
    finally:
        os.close(map_fd)


@contextlib.contextmanager
def service() -> Iterator[str]:
    """A dashboard that edits; its one-time link."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        Path(folder).chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli.main", "serve", "--allow-edits", "--listen", "127.0.0.1:0", "--data", f"{folder}/data"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        try:
            for line in process.stdout or ():
                if found := re.search(r"http\S+/login\?token=\S+", line):
                    yield found[0]
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Operator:
    """Somebody at a browser, with a write session."""

    def __init__(self, link: str, map_id: int) -> None:
        self.origin = link.partition("/login")[0]
        self.session = requests.Session()
        self.session.headers["Origin"] = self.origin
        self.session.get(link)
        elevate, fields = Forms(self.session.get(f"{self.origin}/elevate").text).to("/elevate")
        names = {name: PASSWORD for name in fields if name in {"password", "again"}}
        answer = self.session.post(self.origin + elevate, data={**fields, **names}, allow_redirects=False)
        if answer.status_code != 303:
            raise RuntimeError(f"no write session: {answer.status_code}")
        self.entry = f"{self.origin}/maps/{map_id}/entries/{KEY.hex()}"

    def edit(self, number: int) -> float:
        """Seconds from the confirmation to the page that shows what came of it; form and preview are not counted."""
        form, fields = Forms(self.session.get(f"{self.entry}/edit").text).to("/edit/preview")
        field = next(name for name in fields if name.endswith("value.limit"))
        preview = self.session.post(self.origin + form, data={**fields, field: str(number), "reason": "bench"})
        confirm, fields = Forms(preview.text).to("/edit/preview")
        started = time.perf_counter()
        answer = self.session.post(self.origin + confirm.removesuffix("/preview"), data=fields, allow_redirects=False)
        page = self.session.get(self.origin + answer.headers["Location"])
        elapsed = time.perf_counter() - started
        if answer.status_code != 303 or page.status_code != 200:
            raise RuntimeError(f"{answer.status_code}, {page.status_code}: {answer.text[:500]}")
        return elapsed

    def empty_post(self) -> float:
        """The same server, a POST that does nothing but set a cookie."""
        started = time.perf_counter()
        self.session.post(f"{self.origin}/theme", data={"theme": "auto"}, allow_redirects=False)
        return time.perf_counter() - started


def edit_rows(runs: int) -> list[Row]:
    """What an edit costs beyond a request, in milliseconds, and the swap alone."""
    rows = []
    with edited_map() as map_fd:
        target = target_of(map_fd)
        swaps = []
        for number in range(200):
            started = time.perf_counter()
            run(map_fd, target, LIMIT, Edit(key=KEY, number=number + 1, expected=number))
            swaps.append((time.perf_counter() - started) * 1e3)
        map_update(map_fd, KEY, bytes(16))
        rows.append(_row("compare-and-swap, its program loaded for it, ms", "nothing", 1.0, swaps))
        with service() as link:
            operator = Operator(link, objects.map_info(map_fd).id)
            beyond = []
            for number in range(1, 20 * runs + 1):
                empty, whole = operator.empty_post(), operator.edit(number)
                beyond.append((whole - empty) * 1e3)
                value = bytearray(16)
                map_lookup(map_fd, KEY, value)
                if int.from_bytes(value[8:12], "little") != number:
                    raise RuntimeError("the edit is not in the map")
            rows.append(
                _row("edit through the web, confirmed → recorded → page, ms more", "an empty POST", 10.0, beyond)
            )
    return rows


def _row(what: str, against: str, promised: float, found: list[float]) -> Row:
    return Row(
        what=what,
        against=against,
        promised=promised,
        measured=statistics.median(found),
        least=min(found),
        largest=max(found),
    )
