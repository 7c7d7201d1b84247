"""The web with the broker's own code beside it, and a history that the test itself writes as the recorder does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import msgspec
from flask import Flask

from app.broker.local import client as local_client
from app.history.series import SeriesFacts
from app.history.snapshots import About, Draft, Kept
from app.history.writer import Writer
from app.maps.catalog import listing
from app.maps.host_names import boot_id
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.settings import Settings
from app.timeline import naming, place, taking
from app.timeline.series_settings import SeriesSettings
from app.web.factory import create_app
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.recorder import JobFacts
from tests.columns import kernel_maps
from tests.web import conftest
from tests.web.conftest import PASSWORD, LocalClient, browser

HOSTNAME = "edge-7"
MINUTE_NS = 60 * 10**9


@dataclass
class Recorded:
    """An application, the maps of this host, and their history."""

    settings: Settings
    client: Client
    writer: Writer
    app: Flask = field(init=False)

    def series(self, map_id: int) -> SeriesFacts:
        """The series of a live map, as the recorder finds it."""
        found = listing(self.client)
        live = [naming.live_map(row) for row in found.rows]
        return naming.assign(self.writer, HOSTNAME, boot_id(), live, found.taken_at_ns)[map_id]

    def take(self, map_id: int, *, label: str = "", limit: int = taking.MOST_ENTRIES, at_ns: int = 0) -> str:
        """Keep a snapshot now: its reference.

        at_ns  when it is said to have been taken
        """
        writer = cast("Writer", _At(self.writer, at_ns)) if at_ns else self.writer
        with open_map(self.client, Btfs(self.client), map_id) as opened:
            request = taking.Request(author="root", label=label, limit=limit)
            kept = taking.take(writer, opened, self.series(map_id), boot_id(), request)
        assert kept is not None
        return kept.ref

    def take_asked(
        self, credential: Credential, map_ids: tuple[int, ...], *, trigger: str, label: str = ""
    ) -> JobFacts:
        """Snapshots that pages ask for, at once: what the recorder does when it is asked to."""
        assert credential.session, trigger
        refs = tuple(self.take(map_id, label=label) for map_id in map_ids)
        return JobFacts(id=1, state="done", done=len(refs), total=len(refs), doing="", refs=refs, problems=())

    def ignore_asked(self, credential: Credential, series_id: int, patterns: tuple[str, ...]) -> None:
        """The same as a page asks for it."""
        assert credential.session
        self.ignore(series_id, patterns)

    def ignore(self, series_id: int, patterns: tuple[str, ...]) -> None:
        """Set what comparisons of a map leave out: what the recorder does when it is asked to."""
        packed = msgspec.msgpack.encode(SeriesSettings(ignore=patterns))
        self.writer.touch(replace(self.writer.one_series(series_id), settings=packed))

    def person(self, name: str = "", *, writing: bool = False) -> LocalClient:
        """Somebody who is signed in; root by default."""
        client = browser(self.app, self.settings, name)
        if writing:
            client.elevate()
        return client


class _At:
    """A writer that says of its snapshots that they were taken at another time."""

    def __init__(self, writer: Writer, at_ns: int) -> None:
        self._writer, self._at_ns = writer, at_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def keep(self, made: Draft, about: About) -> Kept:
        return self._writer.keep(made, replace(about, taken_ns=self._at_ns))


@contextlib.contextmanager
def recorded(folder: Path, policy: str = "") -> Iterator[Recorded]:
    """One for the length of a `with`."""
    (folder / "policy.toml").write_text(policy or "version = 1\n[[rule]]\n")
    settings = Settings(data=folder, listen=conftest.HOST, allow_edits=True, audit_copies=())
    place.prepare(settings)
    writer = place.writer(settings, HOSTNAME)
    try:
        with local_client(settings) as client:
            for role in ("viewer", "editor", "auditor"):
                client.user_add(Credential(), role, role, PASSWORD)
            made = Recorded(settings, client, writer)
            recorder = mock.Mock(ignore=made.ignore_asked, take=made.take_asked)
            with mock.patch("app.web.past.connect", return_value=recorder):
                made.app = create_app(settings, client)
            yield made
    finally:
        writer.close()


FLOWS = """
struct flow_key { __be32 saddr; __be16 dport; __u8 proto; __u8 pad; };
struct flow { __u64 packets; __u64 bytes; __u64 secret; char name[16]; __u32 limit; __u32 state; };
struct old_flow { __u64 packets; __u64 bytes; __u64 secret; char name[16]; __u16 limit; __u16 extra; __u32 other; };
int use_0(struct flow_key *k, struct flow *v, struct old_flow *o) { return 0; }
"""


@contextlib.contextmanager
def flows(
    blob: bytes, name: bytes = b"web_flows", entries: int = 64, value: str = "flow", **more: Any
) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of an empty map of flows."""
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 8, "value_size": 48, "max_entries": entries, "name": name, **more}
    with kernel_maps.created(blob, btf.find("flow_key")[0], btf.find(value)[0], **spec) as made:
        yield made


def flow_key(last: int, port: int = 443) -> bytes:
    """10.0.0.`last`, a port, TCP."""
    return bytes([10, 0, last >> 8, last & 255]) + port.to_bytes(2, "big") + bytes([6, 0])


def flow(packets: int = 1, size: int = 100, secret: int = 0, name: bytes = b"web", limit: int = 5) -> bytes:
    """A value; its state is 1."""
    numbers = b"".join(each.to_bytes(8, "little") for each in (packets, size, secret))
    return numbers + name.ljust(16, b"\0") + limit.to_bytes(4, "little") + (1).to_bytes(4, "little")
