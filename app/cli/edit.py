"""`bpf-atlas edit`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from app.cli.changed import tell
from app.cli.service import CLI, connect, data_option
from app.settings import Settings

if TYPE_CHECKING:
    from app.maps.opening import OpenMap
    from app.wire.edits import Edit

_CPU = re.compile(r"all|[0-9]{1,5}")


@click.command("edit")
@click.argument("reference", metavar="MAP")
@click.option("--key", metavar="KEY", help="Which entry: JSON as `dump` prints keys, hex:…, or the fields in order.")
@click.option(
    "--owner",
    default="",
    metavar="OWNER",
    help="Of a local storage: task:PID, cgroup:/path, inode:/path, socket:PID:FD.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change a field; the path `value` is the whole value."
)
@click.option("--expect", "expects", multiple=True, metavar="PATH=VALUE", help="Only if the field holds this.")
@click.option("--cpu", default="", metavar="N|all", help="Of per-CPU maps: whose value.")
@click.option("--create", is_flag=True, help="Make a new entry; what is not given is zero.")
@click.option("--delete", is_flag=True, help="Delete the entry, or empty the slot.")
@click.option("--value", metavar="VALUE", help="The whole value, for --create and --push.")
@click.option(
    "--thing",
    default="",
    metavar="THING",
    help="Put into a slot: prog:ID, map:ID, pin:/path, dev:NAME, cpu:QSIZE, cgroup:/path, socket:PID:FD.",
)
@click.option("--push", is_flag=True, help="Put --value into a queue, a stack or a bloom filter.")
@click.option("--pop", is_flag=True, help="Take the next value out of a queue or a stack.")
@click.option("--clear", is_flag=True, help="Delete every entry.")
@click.option("--freeze", is_flag=True, help="Let nobody in user space write to the map ever again.")
@click.option("--pin", default="", metavar="PATH", help="Pin the map at a path of the bpffs.")
@click.option("--unpin", default="", metavar="PATH", help="Remove that pin of the map.")
@click.option(
    "--reason", default="", metavar="TEXT", help="Why; it stands in the audit log. Needed unless it is a dry run."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and how, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def command(settings: Settings, *, reference: str, reason: str, dry_run: bool, as_json: bool, **wanted: object) -> None:
    """Change one entry of a map, or the map itself, on record.

    A field is compared and swapped by the kernel where that can be: what programs change beside it is not lost. VALUE is JSON
    as `dump` prints it, hex:…, or the text that pages show: 10.0.0.1, ESTABLISHED, '"443"' for a port in network order.

    \b
    Examples:
      bpf-atlas edit name:flows --key '10.0.0.1, 10.0.0.2, 443, 5000, 6' --set value.limit=128 --reason 'load test' --dry-run
      bpf-atlas edit 42 --key 7 --set value.limit=128 --expect value.limit=64 --reason 'ticket 4411'
      bpf-atlas edit 42 --key 8 --create --set value.limit=64 --reason 'new tenant'
      bpf-atlas edit 42 --key 8 --delete --reason 'tenant left'
      bpf-atlas edit name:jmp_table --key 1 --thing prog:77 --reason 'new handler'
    """
    asked = _Asked(**wanted)  # type: ignore[arg-type]
    asked.check()
    if not dry_run and not reason.strip():
        raise click.UsageError("say why with --reason: it stands in the audit log")
    from app.maps.catalog import resolve
    from app.maps.layouts import Btfs
    from app.maps.opening import open_map

    with connect(settings) as client, open_map(client, Btfs(client), resolve(client, reference)) as opened:
        edit = asked.edit(opened)
        report = client.edit(CLI, edit, reason, dry_run=dry_run)
        from app.maps.report import lines_of

        tell(opened, edit, report, lines_of(opened, edit, report), as_json=as_json, dry_run=dry_run)


class _Asked:
    """The options that say what is to happen."""

    def __init__(  # noqa: PLR0913  (one parameter an option)
        self, *, key: str | None, owner: str, sets: tuple[str, ...], expects: tuple[str, ...], cpu: str, create: bool,
        delete: bool, value: str | None, thing: str, push: bool, pop: bool, clear: bool, freeze: bool, pin: str, unpin: str,
    ) -> None:  # fmt: skip
        self.key, self.owner, self.value, self.thing = key, owner, value, thing
        self.path = pin or unpin
        self.sets = dict(_pair("--set", text) for text in sets)
        self.expects = dict(_pair("--expect", text) for text in expects)
        if cpu and not _CPU.fullmatch(cpu):
            raise click.UsageError(f"--cpu wants a number or all, found {cpu!r}")
        self.cpu = cpu
        flags = {
            "create": create, "delete": delete, "put": bool(thing), "push": push, "pop": pop, "clear": clear,
            "freeze": freeze, "pin": bool(pin), "unpin": bool(unpin),
        }  # fmt: skip
        self.actions = [name for name, given in flags.items() if given]
        if not self.actions and (self.sets or value is not None):
            self.actions = ["set"]

    def check(self) -> None:
        """Raises click.UsageError for options that do not go together"""
        if len(self.actions) != 1:
            raise click.UsageError(
                "say one thing to do: --set PATH=VALUE …, --delete, --create, or one of the others that --help lists"
            )
        if (self.sets or self.value is not None) and self.actions[0] not in {"set", "create", "push"}:
            raise click.UsageError(f"--set and --value do not go with --{self.actions[0]}")
        if self.value is not None and self.sets:
            raise click.UsageError("one at a time: --value is the whole value, --set PATH=VALUE fields of it")

    def edit(self, opened: OpenMap) -> Edit:
        """As the broker takes it. raises what app.maps.edit raises"""
        from app.maps import actions, edit
        from app.maps.changes import check_expected
        from app.wire.edits import ALL_CPUS, NO_CPU

        action = self.actions[0]
        if action in {"freeze", "clear", "pin", "unpin"}:
            return actions.map_wide(opened, action, self.path)
        if action == "push":
            return actions.push(opened, _given(opened, "value", self.value))
        key, owner = edit.which(opened, self.key, self.owner)
        seen = edit.read_entry(opened, key, owner) if action != "create" else None
        if action == "pop":
            return actions.pop(opened, seen)
        expected = {path: _given(opened, path, text) for path, text in self.expects.items()}
        fields = {path: _given(opened, path, text) for path, text in self.sets.items()}
        cpu = NO_CPU if not self.cpu else ALL_CPUS if self.cpu == "all" else int(self.cpu)
        if action == "set":
            if self.value is not None:
                fields = {"value": _given(opened, "value", self.value)}
            return edit.set_fields(opened, key, fields, seen, cpu=cpu, owner=owner, expected=expected)
        if action == "create":
            whole = fields.pop("value", None) if self.value is None else _given(opened, "value", self.value)
            return edit.create_entry(opened, key, whole, fields, owner=owner)
        if expected:
            check_expected(opened, expected, seen or b"", cpu=cpu)
        if action == "put":
            return actions.put_thing(opened, key, self.thing, seen)
        return edit.delete_entry(opened, key, seen, owner=owner)


def _pair(option: str, text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise click.UsageError(f"{option} wants PATH=VALUE, such as value.limit=128, found {text!r}")
    return path.strip(), value


def _given(opened: OpenMap, path: str, text: str | None) -> object:
    """VALUE of an option: a number as `dump` prints it, or text as people write it."""
    from app.maps.edit import argument

    return None if text is None else argument(opened, path, text)
