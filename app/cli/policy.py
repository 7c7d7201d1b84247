"""`bpf-atlas policy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.layout import columns, harmless, print_json
from app.cli.service import data_option
from app.settings import Settings

if TYPE_CHECKING:
    from app.broker.policy.rules import Policy, Redaction, Rule, Which


@click.group("policy")
def command() -> None:
    """Check the policy file, or show what it says.

    The file is DATA/policy.toml unless the setting `policy` names another; without one the built-in policy holds.

    \b
    Examples:
      bpf-atlas policy check /etc/bpf-atlas/policy.toml
      bpf-atlas policy show
    """


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@data_option
def check(settings: Settings, *, file: Path | None) -> None:
    """Say whether a policy file can be used, and by line what is wrong with it.

    \b
    Examples:
      bpf-atlas policy check
      bpf-atlas policy check new-policy.toml
    """
    path = file or settings.within(settings.policy)
    if file is None and not path.exists():
        click.echo(f"there is no {path}: the built-in policy holds")
        return
    found = _read(path)
    click.echo(f"{path}: {len(found.rules)} rules and {len(found.redact)} redactions, no error")


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@data_option
def show(settings: Settings, *, as_json: bool) -> None:
    """Show the rules in the order in which they are tried.

    \b
    Examples:
      bpf-atlas policy show
      bpf-atlas policy show --json
    """
    from app.broker.policy.rules import BUILT_IN

    path = settings.within(settings.policy)
    found = _read(path) if path.exists() else BUILT_IN
    if as_json:
        print_json(_facts(found))
        return
    click.echo(f"policy: {harmless(found.path) or found.origin.value}")
    click.echo()
    heads = ["RULE", "LINE", "MAPS", "FIELDS", "ACTIONS", "ROLE", "LIMITS", "NOTE"]
    click.echo(columns(heads, [_row(rule) for rule in found.rules], right=frozenset({"RULE", "LINE"})))
    if found.redact:
        click.echo()
        rows = [
            [
                _which(each.which),
                ", ".join(each.patterns),
                "yes" if each.audit else "no",
                ", ".join(sorted(each.hide_from)) or "-",
            ]
            for each in found.redact
        ]
        click.echo(columns(["REDACTED IN", "FIELDS", "LEFT OUT OF AUDIT", "HIDDEN FROM"], rows))


def _read(path: Path) -> Policy:
    """The policy of a file; with an error in it, its sentence and exit status 1."""
    from app.broker.policy.file import load

    found = load(path)
    if found.problem:
        click.echo(f"bpf-atlas: {harmless(found.problem)}", err=True)
        sys.exit(1)
    return found


def _row(rule: Rule) -> list[str]:
    return [
        str(rule.number),
        str(rule.line or "-"),
        _which(rule.which),
        ", ".join(rule.fields) or "all",
        ", ".join(sorted(rule.actions)),
        rule.role,
        _limits(rule) or "-",
        rule.note or "-",
    ]


def _which(which: Which) -> str:
    kinds = (("", which.maps), ("pin ", which.pins), ("type ", which.types))
    return " and ".join(prefix + " or ".join(patterns) for prefix, patterns in kinds if patterns) or "every map"


def _limits(rule: Rule) -> str:
    bounds = rule.bounds
    parts = [
        f"at least {bounds.minimum}" if bounds.minimum is not None else "",
        f"at most {bounds.maximum}" if bounds.maximum is not None else "",
        "one of " + ", ".join(map(str, sorted(bounds.values))) if bounds.values is not None else "",
        f"{rule.per_minute} a minute" if rule.per_minute else "",
        f"{rule.approvals} must agree" if rule.approvals else "",
    ]
    return ", ".join(part for part in parts if part)


def _facts(found: Policy) -> dict[str, object]:
    return {
        "path": found.path or None,
        "rules": [_rule_facts(rule) for rule in found.rules],
        "redact": [_redact_facts(each) for each in found.redact],
    }


def _rule_facts(rule: Rule) -> dict[str, object]:
    return {
        "number": rule.number,
        "line": rule.line or None,
        **_which_facts(rule.which),
        "fields": list(rule.fields),
        "actions": sorted(rule.actions),
        "role": rule.role,
        "min": rule.bounds.minimum,
        "max": rule.bounds.maximum,
        "values": None if rule.bounds.values is None else sorted(rule.bounds.values),
        "per_minute": rule.per_minute or None,
        "approvals": rule.approvals,
        "note": rule.note,
    }


def _redact_facts(each: Redaction) -> dict[str, object]:
    return {
        **_which_facts(each.which),
        "fields": list(each.patterns),
        "audit": each.audit,
        "hide_from": sorted(each.hide_from),
    }


def _which_facts(which: Which) -> dict[str, object]:
    return {"maps": list(which.maps), "pins": list(which.pins), "types": list(which.types)}
