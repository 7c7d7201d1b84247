"""The web with the broker's own code beside it, and a history that the test itself writes as the recorder does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from flask import Flask

from app.broker.local import client as local_client
from app.history.series import SeriesFacts
from app.history.snapshots import Kept
from app.history.writer import Writer
from app.maps.catalog import listing
from app.maps.layouts import Btfs
from app.maps.opening import open_map
from app.settings import Settings
from app.timeline import naming, place, taking
from app.timeline.kept_layout import boot_id
from app.timeline.series_settings import SeriesSettings
from app.web.factory import create_app
from app.wire.accounts import Credential
from app.wire.ask import Client
from app.wire.recorder import RecorderClient
from tests.columns import kernel_maps
from tests.web.conftest import HOST, PASSWORD, LocalClient, browser

HOSTNAME = "edge-7"


@dataclass
class Recorded:
    """An application, the maps of this host, and their history."""

    app: Flask
    settings: Settings
    client: Client
    writer: Writer
    asked: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """What the recorder was asked to ignore."""

    def series(self, map_id: int) -> SeriesFacts:
        """The series of a live map, as the recorder finds it."""
        found = listing(self.client)
        live = [naming.live_map(row) for row in found.rows]
        return naming.assign(self.writer, HOSTNAME, boot_id(), live, found.taken_at_ns)[map_id]

    def take(self, map_id: int, *, label: str = "", limit: int = taking.MOST_ENTRIES, at_ns: int = 0) -> str:
        """Keep a snapshot now: its reference. at_ns: when it is said to have been taken"""
        series = self.series(map_id)
        with open_map(self.client, Btfs(self.client), map_id) as opened:
            request = taking.Request(author="root", label=label, limit=limit)
            writer = self.writer if not at_ns else _At(self.writer, at_ns)
            kept = taking.take(writer, opened, series, boot_id(), request)  # type: ignore[arg-type]
        assert kept is not None
        return kept.ref

    def ignore(self, series_id: int, *patterns: str) -> None:
        """Set what comparisons of a map leave out, as the recorder does."""
        series = self.writer.one_series(series_id)
        made = SeriesSettings(ignore=patterns)
        self.writer.touch(msgspec.structs.replace(series, settings=b"") if False else _with(series, made))

    def person(self, name: str = "", *, writing: bool = False) -> LocalClient:
        """Somebody who is signed in; root by default."""
        client = browser(self.app, self.settings, name)
        if writing:
            client.elevate()
        return client


def _with(series: SeriesFacts, made: SeriesSettings) -> SeriesFacts:
    import dataclasses

    return dataclasses.replace(series, settings=msgspec.msgpack.encode(made))


class _At:
    """A writer that says of its snapshots that they were taken at another time."""

    def __init__(self, writer: Writer, at_ns: int) -> None:
        self._writer, self._at_ns = writer, at_ns

    def __getattr__(self, name: str) -> object:
        return getattr(self._writer, name)

    def keep(self, made: object, about: object) -> Kept:
        import dataclasses

        return self._writer.keep(made, dataclasses.replace(about, taken_ns=self._at_ns))  # type: ignore[arg-type, type-var]


class _Recorder(RecorderClient):
    """What the pages ask of the recorder, done by the test's own writer."""

    def __init__(self, ignore: Callable[[int, tuple[str, ...]], None]) -> None:
        self._ignore = ignore

    def ignore(self, series_id: int, patterns: tuple[str, ...]) -> None:
        self._ignore(series_id, patterns)


@contextlib.contextmanager
def recorded(folder: Path, policy: str = "") -> Iterator[Recorded]:
    """One for the length of a `with`."""
    (folder / "policy.toml").write_text(policy or "version = 1\n[[rule]]\n")
    settings = Settings(data=folder, listen=HOST, allow_edits=True, audit_copies=())
    place.prepare(settings)
    writer = place.writer(settings, HOSTNAME)
    try:
        with local_client(settings) as client:
            for role in ("viewer", "editor", "auditor"):
                client.user_add(Credential(), role, role, PASSWORD)
            yield Recorded(create_app(settings, client), settings, client, writer)
    finally:
        writer.close()


FLOWS = """
struct flow_key { __be32 saddr; __be16 dport; __u8 proto; __u8 pad; };
struct flow { __u64 packets; __u64 bytes; __u64 last_seen; __u32 limit; __u32 state; };
int use_0(struct flow_key *k, struct flow *v) { return 0; }
"""


@contextlib.contextmanager
def flows(blob: bytes, name: bytes = b"web_flows", entries: int = 64, **more: object) -> Iterator[tuple[int, int]]:
    """(descriptor, id) of an empty map of flows."""
    btf = kernel_maps.parse(blob)
    spec = {"key_size": 8, "value_size": 32, "max_entries": entries, "name": name, **more}
    with kernel_maps.created(blob, btf.find("flow_key")[0], btf.find("flow")[0], **spec) as made:
        yield made


def flow_key(last: int, port: int = 443) -> bytes:
    """10.0.0.`last`, port, TCP."""
    return bytes([10, 0, last >> 8, last & 255]) + port.to_bytes(2, "big") + bytes([6, 0])


def flow(packets: int = 1, size: int = 100, last_seen: int = 0, limit: int = 5, state: int = 1) -> bytes:
    """A value."""
    words = (packets, size, last_seen)
    return b"".join(each.to_bytes(8, "little") for each in words) + b"".join(
        each.to_bytes(4, "little") for each in (limit, state)
    )
