"""One value to text through a lens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.columns.node import Node

THIN_SPACE = "\u2009"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KIB = 1024
_MAX_CLOCK_NS = 8 * 10**18
PROTOCOLS = {
    0: "HOPOPT", 1: "ICMP", 2: "IGMP", 4: "IPIP", 6: "TCP", 17: "UDP", 27: "RDP", 33: "DCCP", 41: "IPv6", 47: "GRE",
    50: "ESP", 51: "AH", 58: "ICMPv6", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP", 136: "UDPLite",
}  # fmt: skip
ETHERTYPES = {
    0x0800: "IPv4", 0x0806: "ARP", 0x86DD: "IPv6", 0x8100: "802.1Q", 0x88A8: "802.1ad", 0x8847: "MPLS", 0x88CC: "LLDP",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What only the host knows, handed in by whoever may ask it; each table may be left empty."""

    comms: Mapping[int, str] = field(default_factory=dict)
    """pid -> command."""
    interfaces: Mapping[int, str] = field(default_factory=dict)
    """ifindex -> name."""
    cgroups: Mapping[int, str] = field(default_factory=dict)
    """cgroup id -> path."""
    boot_time_ns: int | None = None
    """Wall-clock time, since 1970, at which CLOCK_MONOTONIC was 0."""
    symbol: Callable[[int], str | None] | None = None
    """Kernel address -> symbol+offset."""


NO_NAMES = Names()


def grouped(number: int) -> str:
    """Thousands set apart by a thin space."""
    return f"{number:,}".replace(",", THIN_SPACE)


def printable(text: str) -> str:
    """``text`` with whatever does not print (controls, bidirectional marks, separators) as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def integer(lens: str, node: Node, number: int, names: Names) -> str:
    """Text of an integer (enum, pointer, truth value) through ``lens``."""
    reader = _INTEGERS.get(lens)
    return grouped(number) if reader is None else reader(node, number, names)


def octets(lens: str, data: bytes) -> str:
    """Text of bytes through ``lens``."""
    match lens:
        case "ipv4" if len(data) == 4:
            return ".".join(map(str, data))
        case "ipv6" if len(data) == 16:
            from ipaddress import IPv6Address

            return str(IPv6Address(data))
        case "mac":
            return data.hex(":")
        case "text":
            return text(data)
        case _:
            return (
                data.hex(" ", 1)
                if len(data) <= 8
                else " ".join(data[at : at + 8].hex() for at in range(0, len(data), 8))
            )


def text(data: bytes) -> str:
    """Characters up to the first NUL; what is not UTF-8 or does not print is escaped."""
    return printable(data.split(b"\0", 1)[0].decode(errors="backslashreplace"))


def duration(nanoseconds: int) -> str:
    """A length of time, in the unit that leaves one to three digits before the point."""
    sign, size = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if size < scale * 1000:
            return f"{sign}{size}{THIN_SPACE}ns" if scale == 1 else f"{sign}{_short(size / scale)}{THIN_SPACE}{unit}"
    seconds = size / 10**9
    if seconds < 60:
        return f"{sign}{_short(seconds)}{THIN_SPACE}s"
    days, rest = divmod(size // 10**9, 86_400)
    hours, minutes, left = rest // 3600, rest // 60 % 60, rest % 60
    return f"{sign}{f'{grouped(days)}{THIN_SPACE}d ' if days else ''}{hours:02}:{minutes:02}:{left:02}"


def clock(nanoseconds: int) -> str | None:
    """UTC of a time since 1970, to the millisecond; None outside the calendar."""
    if not -_MAX_CLOCK_NS < nanoseconds < _MAX_CLOCK_NS:
        return None
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def size(number: int) -> str:
    """Bytes in the unit that leaves one to four digits before the point."""
    amount = float(abs(number))
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if amount < _KIB or unit == "EiB":
            break
        amount /= _KIB
    shown = str(abs(number)) if unit == "B" else _short(amount)
    return f"{'-' if number < 0 else ''}{shown}{THIN_SPACE}{unit}"


def enum_name(node: Node, number: int) -> str | None:
    """The enumerator of ``number``; enumerators and number are compared in the width of the field."""
    mask = (1 << node.size_bits) - 1
    return next((value.name for value in node.enum if (value.value ^ number) & mask == 0), None)


def _short(amount: float) -> str:
    return f"{amount:.3g}" if amount < 100 else f"{amount:.0f}"


def _enum(node: Node, number: int, _: Names) -> str:
    return printable(enum_name(node, number) or "") or str(number)


def _memory(node: Node, number: int) -> bytes:
    return (number & ((1 << node.size_bits) - 1)).to_bytes(node.size_bits // 8, node.byte_order)


def network_number(node: Node, number: int) -> int:
    """The integer that its bytes make when read in network order."""
    return int.from_bytes(_memory(node, number), "big", signed=node.signed)


def _ktime(_: Node, number: int, names: Names) -> str:
    shown = None if names.boot_time_ns is None or number == 0 else clock(number + names.boot_time_ns)
    return shown or ("0" if number == 0 else "+" + duration(number))


def _pointer(node: Node, number: int, names: Names) -> str:
    symbol = names.symbol(number) if names.symbol is not None and number else None
    return printable(symbol) if symbol else _hex(node, number, names)


def _hex(node: Node, number: int, _: Names) -> str:
    return f"{number & ((1 << node.size_bits) - 1):#x}"


def _named(number: int, name: str | None) -> str:
    return f"{number} {printable(name)}" if name else str(number)


def _pid_tgid(_: Node, number: int, names: Names) -> str:
    process, thread = number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF
    return _named(process, names.comms.get(process)) + (f" / {thread}" if thread != process else "")


def _char(node: Node, number: int, _: Names) -> str:
    char = chr(number & 0xFF)
    return f"'{char}'" if char.isprintable() and char.isascii() else _hex(node, number, NO_NAMES)


_INTEGERS: dict[str, Callable[[Node, int, Names], str]] = {
    "number": lambda _, number, __: grouped(number),
    "plain": lambda _, number, __: str(number),
    "hex": _hex,
    "bool": lambda _, number, __: "true" if number else "false",
    "enum": _enum,
    "pointer": _pointer,
    "be": lambda node, number, _: grouped(network_number(node, number)),
    "port_be": lambda node, number, _: str(network_number(node, number)),
    "ipv4": lambda node, number, _: octets("ipv4", _memory(node, number)),
    "ethertype": lambda node, number, _: _named_hex(network_number(node, number), number),
    "proto": lambda _, number, __: PROTOCOLS.get(number, str(number)),
    "char": _char,
    "pid": lambda _, number, names: _named(number, names.comms.get(number)),
    "pid_tgid": _pid_tgid,
    "ifindex": lambda _, number, names: _named(number, names.interfaces.get(number)),
    "cgroup": lambda _, number, names: _named(number, names.cgroups.get(number)),
    "ktime": _ktime,
    "wall": lambda _, number, __: clock(number) or str(number),
    "duration": lambda _, number, __: duration(number),
    "seconds": lambda _, number, __: duration(number * 10**9),
    "bytes": lambda _, number, __: size(number),
}


def _named_hex(network: int, host: int) -> str:
    return ETHERTYPES.get(network) or ETHERTYPES.get(host) or f"{network:#06x}"


def floating(number: Any) -> str:
    """Shortest text that reads back as the same number."""
    return repr(float(number))
