"""Every setting, read once: flag over environment over default.

Each field of `Settings` has an environment variable of its name in capitals, ``BPF_ATLAS_`` before it,
and a heading in docs/settings.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from app.errors import BadSetting

PREFIX = "BPF_ATLAS_"
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one run of bpf-atlas goes by."""

    data: Path = Path("/var/lib/bpf-atlas")
    """Directory of the socket, the secrets and (later) the history. Its sub-folders belong to one process each."""
    listen: str = "127.0.0.1:8470"
    """HOST:PORT of the web; a host that is not loopback needs `insecure_http`, until TLS stands before it."""
    allowed_hosts: tuple[str, ...] = ()
    """Further ``Host`` values to answer to, ``name`` or ``name:port``; the listening address is always among them."""
    insecure_http: bool = False
    """Listen beyond loopback without TLS: everybody on the way can read along."""
    behind_tls: bool = False
    """TLS ends in a proxy before the web: cookies become Secure, origins https, and browsers are told to stay with it."""
    bpffs: Path = Path("/sys/fs/bpf")
    """Where pins are looked for."""
    view_memory_mib: int = 512
    """Memory for the readings that sorted, filtered and paged views are cut from; the oldest goes first."""
    view_seconds: int = 300
    """How long such a reading is kept after its last use."""
    max_read_entries: int = 4_000_000
    """A view of a larger map stops here and says so."""
    web_user: str = "58470"
    """Account that the web process runs as, by name or number; one that nothing else runs as."""
    recorder_user: str = "58471"
    """Account that the recorder process runs as, by name or number; one that nothing else runs as."""
    threads: int = 32
    """Threads of the web process."""
    allow_edits: bool = False
    """Let editors edit, as far as roles and policy go; without it the broker itself cannot write."""
    policy: Path = Path("policy.toml")
    """Who may edit what; a relative path is in the data directory. Without such a file the built-in policy holds."""
    audit_key: Path = Path("broker/audit.key")
    """The key that chains the audit log, kept outside its database; made at first start. A relative path is in the data directory."""
    audit_copies: tuple[str, ...] = ("log",)
    """Where each audit record also goes: ``log`` (standard error), ``syslog``, ``journald``."""
    session_idle_minutes: int = 30
    """A session that is not used for so long is over."""
    session_hours: int = 12
    """A session is over after this, used or not."""
    write_minutes: int = 15
    """A write session, begun by giving the password again, lasts so long."""
    proxy_header: str = ""
    """Header in which a trusted reverse proxy names the user, such as ``Remote-User``; empty: none is believed."""
    proxy_addresses: tuple[str, ...] = ()
    """Addresses that such a proxy connects from; its X-Forwarded-For is believed, too."""
    oidc_issuer: str = ""
    """Address of an OpenID Connect provider; empty: none."""
    oidc_client_id: str = ""
    """This service's name at the provider."""
    oidc_client_secret_file: Path = Path("oidc-secret")
    """File with this service's secret at the provider, which the web's account may read; a relative path is in the data directory."""
    oidc_claim: str = "preferred_username"
    """Claim of the ID token that names the user."""
    edit_sockets: bool = False
    """Let edits name sockets by process and descriptor; the broker keeps CAP_SYS_PTRACE for it."""
    record: bool = True
    """Record maps all the time; without it snapshots are taken on demand alone."""
    database_url: str = ""
    """Address of the history's database, ``postgresql+psycopg://USER:PASSWORD@HOST/NAME``; empty: SQLite in the data directory."""
    record_seconds: int = 60
    """A map is looked at so often, unless a rule says otherwise."""
    record_entries: int = 65_536
    """Maps of more entries are recorded by rule or by hand alone."""
    record_memory_mib: int = 512
    """Keys and values of one map that are read at once; encoding them takes up to three times as much."""
    record_rules: Path = Path("record.toml")
    """Which maps are recorded how often; a relative path is in the data directory."""
    history_cpu_percent: int = 1
    """Of one core that the recorder may take over time; when it is short, maps are looked at less often."""
    history_mib: int = 1024
    """What the history may take on disk; when it is short, the oldest snapshots go."""
    history_file: str = ""
    """A history to show by itself, without live maps: what `serve --history` sets."""

    @property
    def is_alone(self) -> bool:
        """A history is shown by itself: there are no live maps, and nobody records."""
        return self.history_file != ""

    @property
    def recorder_socket(self) -> Path:
        """Where the recorder listens."""
        return self.data / "recorder.sock"

    @property
    def history_folder(self) -> Path:
        """The recorder's own; the web may read it."""
        return self.data / "history"

    @property
    def history_url(self) -> str:
        """Address of the history's database."""
        if self.is_alone:
            return f"sqlite:///{Path(self.history_file).absolute()}"
        return self.database_url or f"sqlite:///{self.history_folder / 'history.db'}"

    @property
    def socket(self) -> Path:
        """Where the broker listens."""
        return self.data / "broker.sock"

    @property
    def broker_folder(self) -> Path:
        """The broker's own: accounts, audit log, lock. Mode 0700."""
        return self.data / "broker"

    def within(self, path: Path) -> Path:
        """A path of a setting: relative ones are in the data directory."""
        return self.data / path


def from_environment(environment: Mapping[str, str] = os.environ, **flags: object) -> Settings:
    """Settings of this process: a flag that is not None, else the environment, else the default.

    raises  BadSetting naming the variable
    """
    chosen: dict[str, object] = {name: value for name, value in flags.items() if value is not None}
    for field in fields(Settings):
        variable = PREFIX + field.name.upper()
        if field.name not in chosen and environment.get(variable, "") != "":
            chosen[field.name] = _read(variable, environment[variable], str(field.type))
    return Settings(**chosen)  # type: ignore[arg-type]


def _read(variable: str, text: str, wanted: str) -> object:
    match wanted:
        case "Path":
            return Path(text)
        case "bool":
            if text.lower() not in {"0", "1", "true", "false", "yes", "no"}:
                raise BadSetting(variable, text, "0 or 1")
            return text.lower() in {"1", "true", "yes"}
        case "int":
            if not text.isdecimal():
                raise BadSetting(variable, text, "a whole number")
            return int(text)
        case "tuple[str, ...]":
            return tuple(part.strip() for part in text.split(",") if part.strip())
        case _:
            return text
