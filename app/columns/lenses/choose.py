"""Which lenses suit a field, and which one it gets, by its type's name and its own."""

from __future__ import annotations

import re
from functools import lru_cache

from app.columns.node import Node, NodeKind, is_in6_addr, is_octets
from app.columns.plan import Plan

NETWORK_ORDER = frozenset({"port_be", "be", "ipv4"})
"""Lenses of integers that read the bytes in memory order, whatever the host's order."""

_ADDRESS = frozenset(
    [
        "addr",
        "saddr",
        "daddr",
        "ip",
        "ip4",
        "ipv4",
        "v4",
        "saddr4",
        "daddr4",
        "addr4",
        "laddr",
        "raddr",
        "sip",
        "dip",
        "srcip",
        "dstip",
        "src4",
        "dst4",
        "vip",
        "gateway",
        "nexthop",
        "address4",
        "address",
        "ipaddr",
        "saddrs",
        "daddrs",
    ]
)
_ADDRESS6 = _ADDRESS | frozenset(
    ["ip6", "ipv6", "v6", "saddr6", "daddr6", "addr6", "src6", "dst6", "address6", "in6", "vipv6"]
)
_NO_ADDRESS = frozenset(
    [
        "len",
        "length",
        "type",
        "family",
        "count",
        "num",
        "cnt",
        "size",
        "csum",
        "id",
        "idx",
        "index",
        "flags",
        "mask",
        "off",
        "offset",
        "port",
    ]
)
_PORT = frozenset(
    ["port", "sport", "dport", "lport", "rport", "srcport", "dstport", "source_port", "dest_port", "ports"]
)
_DURATION = frozenset(
    [
        "lat",
        "latency",
        "delta",
        "duration",
        "elapsed",
        "total",
        "sum",
        "avg",
        "mean",
        "runtime",
        "run",
        "timeout",
        "interval",
        "period",
        "cost",
        "took",
        "wait",
        "rtt",
        "srtt",
        "spent",
        "budget",
        "quota",
        "slice",
        "vtime",
    ]
)
_INSTANT = frozenset(
    [
        "seen",
        "at",
        "last",
        "first",
        "start",
        "started",
        "begin",
        "began",
        "end",
        "ended",
        "stop",
        "stopped",
        "now",
        "since",
        "until",
        "deadline",
        "expires",
        "expiry",
        "expiration",
        "created",
        "updated",
        "modified",
        "opened",
        "closed",
        "sent",
        "received",
        "entered",
        "queued",
        "woken",
        "born",
        "timestamp",
        "tstamp",
        "ktime",
        "ts",
    ]
)
"""What a moment is called; a number of nanoseconds under any other name is a length of time."""
_CLOCK = frozenset(["timestamp", "tstamp", "ktime", "ts", "expires", "expiry"])
"""Names of moments that need no unit beside them."""
_PID = frozenset(["pid", "tgid", "tid", "ppid"])
_IFINDEX = frozenset(["ifindex", "iif", "oif", "ifidx", "ingress_ifindex", "if_index", "netdev_ifindex"])
_CGROUP = frozenset(["cgroup", "cgid", "cgroupid", "cgrp"])
_PROTO = frozenset(["proto", "protocol", "l4proto", "nexthdr", "l4_proto", "ipproto", "nexthdr"])
_FLAGS = frozenset(["flags", "flag", "mask", "bitmap", "bitmask", "features", "caps"])
_POINTER = frozenset(
    ["ptr", "kaddr", "ip", "addr", "address", "func", "fn", "kstack", "ustack", "skb", "sk", "sock", "task"]
)
_TEXT = frozenset(
    [
        "comm",
        "name",
        "task_name",
        "comm_name",
        "filename",
        "fname",
        "path",
        "ifname",
        "dname",
        "cmd",
        "argv",
        "msg",
        "message",
    ]
)
_PLAIN = frozenset(
    [
        "id",
        "fd",
        "cpu",
        "idx",
        "index",
        "vlan",
        "vni",
        "mark",
        "uid",
        "gid",
        "port",
        "queue",
        "prefixlen",
        "family",
        "type",
        "version",
        "seq",
        "ack",
        "key",
        "slot",
        "hash",
        "kind",
        "cookie",
        "tag",
        "level",
        "priority",
        "prio",
        "node",
        "zone",
        "ino",
        "inode",
        "dev",
        "major",
        "minor",
        "code",
        "state",
        "status",
        "weight",
        "revision",
    ]
)
_BARS = frozenset(["slots", "buckets", "hist", "histogram", "bins"])


def choices(node: Node) -> tuple[str, ...]:
    """Every lens that can show the field, the plainest first."""
    if node.special:
        return ("opaque",)
    match node.kind:
        case NodeKind.INT:
            return _of_integer(node)
        case NodeKind.ENUM:
            return ("enum", "plain", "hex")
        case NodeKind.BOOL:
            return ("bool", "plain")
        case NodeKind.PTR:
            return ("pointer", "plain")
        case NodeKind.FLOAT:
            return ("float",)
        case NodeKind.TEXT:
            return ("text", "octets")
        case NodeKind.BYTES:
            number = ("number", "plain", "hex") if node.size_bytes in {1, 2, 4, 8} else ()
            return ("octets", "text", *_addresses(node.size_bytes), *number)
        case NodeKind.ARRAY if is_octets(node):
            return ("octets", "text", *_addresses(node.size_bytes), "list")
        case NodeKind.ARRAY if node.element is not None and node.element.numeric:
            return ("list", "bars", *(("ipv6",) if node.size_bytes == 16 else ()))
        case NodeKind.ARRAY:
            return ("list",)
        case _:
            return ("struct", "octets", *_addresses(node.size_bytes))


def default(node: Node, plan: Plan) -> str:
    """The lens that the field gets unless somebody chose another."""
    suitable = choices(node)
    if not plan.typed:
        return suitable[0]
    wanted = _wanted(node)
    if wanted in suitable:
        return wanted
    if _follows_prefix_length(node, plan):
        return next((lens for lens in ("ipv4", "ipv6") if lens in suitable), suitable[0])
    return suitable[0]


def reads_network_order(node: Node, lens: str) -> bool:
    """Whether ``lens`` shows an integer's bytes in memory order."""
    return node.kind is NodeKind.INT and lens in NETWORK_ORDER


def _of_integer(node: Node) -> tuple[str, ...]:
    if node.bitfield:
        return ("number", "plain", "hex")
    extra = {
        8: ("char", "proto"),
        16: ("be", "port_be", "ethertype"),
        32: ("be", "ipv4", "pid", "ifindex", "bytes", "seconds"),
        64: ("be", "ktime", "duration", "bytes", "cgroup", "pid_tgid", "pointer", "wall"),
    }
    return ("number", "plain", "hex", *extra.get(node.size_bits, ()))


def _addresses(size_bytes: int) -> tuple[str, ...]:
    return {4: ("ipv4",), 6: ("mac",), 16: ("ipv6",)}.get(size_bytes, ())


def _wanted(node: Node) -> str:
    words = _words(node)
    match node.kind:
        case NodeKind.INT:
            return _wanted_integer(node, words)
        case NodeKind.ARRAY if is_octets(node):
            return _wanted_octets(node, words)
        case NodeKind.ARRAY:
            return "ipv6" if is_in6_addr(node) else "bars" if words & _BARS else "list"
        case _:
            return "ipv6" if is_in6_addr(node) else ""


def _wanted_integer(node: Node, words: frozenset[str]) -> str:
    names = {node.type_name.removeprefix("const ").removeprefix("volatile "), *node.chain}
    if "__be32" in names or "in_addr_t" in names:
        return "be" if words & (_NO_ADDRESS | {"vni", "seq", "ack", "spi", "mark", "label"}) else "ipv4"
    if "__be16" in names:
        # A value that is one big-endian short and nothing else has no name to tell by; it is a port more often than not.
        return "port_be" if words & _PORT or not node.path else "ethertype" if words & _PROTO else "be"
    if "__be64" in names:
        return "be"
    if node.bitfield:
        return "hex" if words & _FLAGS else "plain" if words & _PLAIN else "number"
    if node.size_bits == 64:
        return _wanted_u64(words)
    address = words & _ADDRESS and not words & _NO_ADDRESS
    if node.size_bits == 32 and address and not node.signed:
        return "ipv4"
    for known, lens in (
        (_IFINDEX, "ifindex"),
        (_PID, "pid"),
        (_PROTO, "proto"),
        (_FLAGS, "hex"),
        (_PLAIN | _PORT, "plain"),
    ):
        if words & known and (lens != "proto" or node.size_bits == 8):
            return lens if lens in choices(node) else "plain"
    if words & _PROTO:
        return "ethertype" if node.size_bits == 16 else "plain"
    return "number"


def _wanted_u64(words: frozenset[str]) -> str:
    if {"pid", "tgid"} <= words:
        return "pid_tgid"
    if words & _CGROUP:
        return "cgroup"
    nanoseconds = words & {"ns", "nsec", "nsecs", "nanoseconds"}
    if words & _DURATION and (nanoseconds or words & {"ts", "ktime", "latency", "duration", "elapsed"}):
        return "duration"
    if words & _CLOCK or {"last", "seen"} <= words or {"first", "seen"} <= words or {"start", "time"} <= words:
        return "ktime"
    if nanoseconds and words != nanoseconds:
        return "ktime" if words & _INSTANT else "duration"
    if len(words) > 1 and "at" in words:
        return "ktime"
    if words & _POINTER and not words & (_NO_ADDRESS - {"off", "offset"}):
        return "pointer"
    return "hex" if words & _FLAGS else "plain" if words & (_PLAIN | _PID) else "number"


def _wanted_octets(node: Node, words: frozenset[str]) -> str:
    size_bytes = node.size_bytes
    if words & _TEXT:
        return "text"
    if size_bytes == 6:
        return "mac"
    if size_bytes == 16 and (words & _ADDRESS6 or any("6" in word for word in words & _ADDRESS6)):
        return "ipv6"
    if size_bytes == 4 and words & _ADDRESS:
        return "ipv4"
    return "octets"


def _follows_prefix_length(node: Node, plan: Plan) -> bool:
    """The rest of a longest-prefix-match key is an address more often than not."""
    first = plan.root.children[0] if plan.root.children else None
    return (
        first is not None
        and first.name in {"prefixlen", "prefix_len", "prefix"}
        and first.size_bytes == 4
        and node.offset_bits == 32
        and (node.end_bytes == plan.size_bytes)
    )


def _words(node: Node) -> frozenset[str]:
    """The words in the field's name, or in that of the nearest ancestor that has one."""
    name = re.sub(r"(\[\d+\])+$", "", node.path)
    last = name.rsplit(".", 1)[-1]
    if last in {"s_addr", "val", "value", "v", "in6_u", "__in6_u"} and "." in name:
        last = name.rsplit(".", 2)[-2] + "_" + last
    return _split(last)


@lru_cache(maxsize=4096)
def _split(name: str) -> frozenset[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:128]).lower()
    words = [*re.split(r"[^a-z0-9]+", spaced), spaced]
    return frozenset(words + [word.rstrip("0123456789") for word in words])
