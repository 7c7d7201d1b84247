"""What can be wrong with a command before any map is looked at."""

from __future__ import annotations

from pathlib import Path

from app.errors import AppError, NeedsRights, UsageError


class CliError(AppError):
    """Base of this room's errors; not raised itself."""


class NotRoot(CliError, NeedsRights):
    """Neither a service nor the right to do without one."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no service listens at {path} and this user is not root: run as root, or start `bpf-atlas serve`"
        )


class ServiceClosed(CliError, NeedsRights):
    """There is a service, and it is not for this user."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"this user may not ask the service at {path}: run as root")


class NoService(CliError):
    """The command is about a running service."""

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"no dashboard runs with the data directory {data}: start `bpf-atlas serve`, or name another by --data"
        )


class ServeNeedsRoot(CliError, NeedsRights):
    """The broker cannot get its capabilities."""

    def __init__(self) -> None:
        super().__init__(
            "serve starts a broker that needs CAP_SYS_ADMIN: run it as root; the web drops every right by itself"
        )


class AddressTaken(CliError):
    """The web cannot listen."""

    def __init__(self, listen: str, reason: str) -> None:
        super().__init__(
            f"cannot listen on {listen}: {reason}; stop what does, or choose another with --listen HOST:PORT"
        )


class DataTaken(CliError):
    """A service of this data directory runs already."""

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"a service with the data directory {data} runs already: stop it, or choose another with --data"
        )


class DataUnusable(CliError):
    """The data directory cannot be made or opened."""

    def __init__(self, data: Path, reason: str) -> None:
        super().__init__(f"the data directory {data} cannot be made ({reason}): choose another with --data")


class Exposed(CliError, UsageError):
    """Listening beyond loopback in plain HTTP was not asked for on purpose."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} is not loopback, and plain HTTP would show every map value on the way: put TLS before it and set"
            " BPF_ATLAS_BEHIND_TLS=1, or insist with BPF_ATLAS_INSECURE_HTTP=1"
        )


class CannotWrite(CliError):
    """The file that was named cannot be made."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}")


class DiedAtStart(CliError):
    """A process of the service did not come up at all."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"the {name} process ended at its start with status {status}; its message stands above")


class NotDone(CliError):
    """An edit that was not, or not just so, carried out; the sentence is the broker's."""


class EditRefused(CliError, NeedsRights):
    """An edit that the kernel, the map's state or the policy does not allow; the sentence is the broker's."""


class HistoryClosed(CliError, NeedsRights):
    """There is a history, and it is not for this user."""

    def __init__(self, where: str) -> None:
        super().__init__(f"this user may not read the history at {where}: run as root")


class HistoryAlone(CliError, UsageError):
    """A history that was opened by itself is only read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is a history that was opened by itself, and only read: unset BPF_ATLAS_HISTORY_FILE")


class AlreadyThere(CliError):
    """A file would be lost."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already: name another file, or remove it first")


class NotOnPostgresql(CliError, UsageError):
    """The database has its own programs for that."""

    def __init__(self, program: str) -> None:
        super().__init__(f"the history is in PostgreSQL: use {program} for that")


class NoSnapshotFirst(CliError, NeedsRights):
    """Nothing would tell afterwards what a map held before a plan."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"no snapshot could be taken before the plan, so nothing was applied ({reason}): mend that, or add --no-snapshot"
        )


class HistoryDamaged(CliError):
    """What is stored is not what was stored."""

    def __init__(self, where: str, problems: int) -> None:
        super().__init__(
            f"{where} has {problems} {'problem' if problems == 1 else 'problems'}; what they do not name can be read"
        )


class WhichMap(CliError):
    """None of the live maps, or several, go on with the series of a snapshot."""

    def __init__(self, title: str, ids: tuple[int, ...]) -> None:
        which = f"{len(ids)} live maps may be the one, {', '.join(map(str, ids))}" if ids else "no live map is it now"
        super().__init__(f"{title}: {which}; say by --map MAP into which one to restore")
