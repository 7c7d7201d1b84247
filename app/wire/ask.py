"""The asking side: one method per verb, over a socket or within the same process."""

from __future__ import annotations

from errno import ENOENT

from app.uapi.enums import BpfCmd
from app.uapi.errors import error_for
from app.wire import bodies
from app.wire.ask_accounts import AskingAccounts
from app.wire.ask_edits import AskingEdits
from app.wire.errors import PinOutside
from app.wire.verbs import Verb

LIMIT_RING_BYTES = 16 << 20
"""What `Client.ring` asks for unless told otherwise."""


class Client(AskingAccounts, AskingEdits):
    """Asks the broker. Safe to share between threads; usable as a context manager.

    Every method raises KernelError leaves as if bpf(2) had been called here, and WireError ones when the broker is not
    there, does not answer in time, or declines.
    """

    def hello(self) -> bodies.Hello:
        """Describe the broker, its host, and what works here."""
        return self._plain(Verb.HELLO, bodies.AskNothing(), bodies.Hello)

    def maps(self) -> bodies.MapList:
        """All maps, ascending by id."""
        return self._plain(Verb.MAPS, bodies.AskNothing(), bodies.MapList)

    def progs(self) -> bodies.ProgList:
        """All programs, ascending by id."""
        return self._plain(Verb.PROGS, bodies.AskNothing(), bodies.ProgList)

    def links(self) -> bodies.LinkList:
        """All links, ascending by id."""
        return self._plain(Verb.LINKS, bodies.AskNothing(), bodies.LinkList)

    def pins(self) -> bodies.PinList:
        """All pins beneath the bpffs, by path."""
        return self._plain(Verb.PINS, bodies.AskNothing(), bodies.PinList)

    def holders(self) -> bodies.HolderList:
        """All descriptors of bpf objects that processes hold, by pid and number."""
        return self._plain(Verb.HOLDERS, bodies.AskNothing(), bodies.HolderList)

    def map_open(self, map_id: int) -> tuple[bodies.Opened, int | None]:
        """Facts about a map and a read-only descriptor of it, the caller's to close.

        The descriptor is None where `Hello.passes_descriptors` is false: `lookup`, `next_key` and `batch` read then.
        """
        return self._with_descriptor(Verb.MAP_OPEN, bodies.AskId(_id(map_id)))

    def pin_open(self, path: str) -> tuple[bodies.Opened, int | None]:
        """As `map_open`, of the map pinned at `path`, which must lie in the broker's bpffs."""
        try:
            path.encode()
        except UnicodeEncodeError:
            raise PinOutside(f"{path!r} is no UTF-8 text: open that map by its id") from None
        return self._with_descriptor(Verb.PIN_OPEN, bodies.AskPin(path))

    def btf(self, btf_id: int) -> bytes:
        """Fetch the raw BTF of an object."""
        return self._plain(Verb.BTF, bodies.AskId(_id(btf_id)), bodies.Bytes).data

    def lookup(self, map_id: int, key: bytes, value: bytes = b"") -> bytes | None:
        """One value by the broker's own look-up, None when there is no such key; `value` is what a bloom filter is asked for."""
        # The broker fills up with zeros, so a fresh buffer costs nothing to send.
        return self._plain(Verb.LOOKUP, bodies.AskLookup(_id(map_id), key, value.rstrip(b"\0")), bodies.Found).value

    def next_key(self, map_id: int, key: bytes | None) -> bytes | None:
        """Fetch the key after `key` (None: the first), None after the last, by the broker's own call."""
        return self._plain(Verb.NEXT_KEY, bodies.AskNextKey(_id(map_id), key), bodies.NextKey).key

    def batch(self, map_id: int, token: bytes | None, count: int) -> bodies.Batch:
        """One batch look-up by the broker's own call; raises NotSupported where the type has none."""
        return self._plain(Verb.BATCH, bodies.AskBatch(_id(map_id), token, count), bodies.Batch)

    def ring(self, map_id: int, limit_bytes: int = LIMIT_RING_BYTES) -> bodies.Ring:
        """Look at the newest `limit_bytes` of what waits in a ring buffer; nothing is consumed."""
        return self._plain(Verb.RING, bodies.AskRing(_id(map_id), limit_bytes), bodies.Ring)

    def sk_storage(self, map_id: int) -> bodies.Storage:
        """Sockets that have an element in an SK_STORAGE map: cookie, addresses, value."""
        return self._plain(Verb.SK_STORAGE, bodies.AskStorage(_id(map_id)), bodies.Storage)

    def inode_storage(self, map_id: int, paths: tuple[str, ...] = ()) -> bodies.Storage:
        """Files that have an element in an INODE_STORAGE map, among those held open and `paths`."""
        return self._plain(Verb.INODE_STORAGE, bodies.AskStorage(_id(map_id), paths), bodies.Storage)

    def _with_descriptor(self, verb: Verb, question: bodies.Body) -> tuple[bodies.Opened, int | None]:
        answer, descriptor = self._transport.ask(verb, question)
        if not isinstance(answer, bodies.Opened):
            raise TypeError(f"{verb.name} was answered with {type(answer).__name__}")
        return answer, descriptor


def _id(number: int) -> int:
    """Take an id as it is; one that no kernel can have is as good as gone, and asking the broker would be malformed."""
    if not 0 <= number < 1 << 32:
        raise error_for(BpfCmd.MAP_GET_FD_BY_ID, ENOENT)
    return number
