"""Which ``Host`` values are ours: exact, with port. DNS rebinding brings a foreign name, and stops here."""

from __future__ import annotations

from app.settings import Settings

WILDCARDS = frozenset({"0.0.0.0", "[::]", "", "*"})  # noqa: S104
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def allowed(settings: Settings) -> frozenset[str]:
    """Every ``Host`` that is answered, in lower case.

    A loopback or wildcard listener answers to the three loopback names; others to their own address and `allowed_hosts`.
    A bare name in `allowed_hosts` means that name without a port (a proxy's) and with the listening port.
    """
    host, _, port = settings.listen.rpartition(":")
    host = host.lower()
    names = set(LOOPBACK) if host in WILDCARDS | LOOPBACK else {host}
    hosts = {f"{name}:{port}" for name in names}
    if port == "80":
        hosts |= names
    for name in settings.allowed_hosts:
        given = name.lower()
        hosts.add(given)
        if not _has_port(given):
            hosts.add(f"{given}:{port}")
    return frozenset(hosts)


def _has_port(host: str) -> bool:
    tail = host.rpartition(":")[2]
    return ":" in host and tail.isdecimal() and not (host.count(":") > 1 and not host.startswith("["))
