"""What a reverse proxy says of a request, believed from the addresses in the settings alone."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from flask import Request

from app.errors import BadSetting
from app.settings import Settings


class Proxies:
    """Who sent a request, and whom a trusted proxy says it is."""

    def __init__(self, settings: Settings) -> None:
        """Raises  BadSetting"""
        self._header = settings.proxy_header
        self._networks = tuple(map(_network, settings.proxy_addresses))
        if self._header and not self._networks:
            raise BadSetting("proxy_addresses", "", "set: it must say from where proxy_header is believed")

    def source(self, asked: Request) -> str:
        """The address that a request came from; behind a trusted proxy the last one in X-Forwarded-For that is no such proxy."""
        source = asked.remote_addr or ""
        if not self.is_trusted(source):
            return source
        for hop in reversed(",".join(asked.headers.getlist("X-Forwarded-For")).split(",")):
            named = hop.strip()
            try:
                named = str(ip_address(named))
            except ValueError:
                return source
            source = named
            if not self.is_trusted(named):
                return named
        return source

    def named(self, asked: Request) -> str:
        """The user that a trusted proxy names; empty when it names none, or the request came past it."""
        if not self._header or not self.is_trusted(asked.remote_addr or ""):
            return ""
        named = asked.headers.get(self._header, "").strip()
        return "" if "," in named else named  # a server joins two headers by one: then nobody knows who put which

    def is_trusted(self, address: str) -> bool:
        """Whether it is a proxy's of the settings."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise BadSetting(
            "proxy_addresses", text, "an address such as 10.0.0.2, or a network such as 10.0.0.0/24"
        ) from None
