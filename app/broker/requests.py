"""THE table: everything that a privileged process does for others, and for whom. What is not in it closes the connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgspec

from app.broker.accounts import answers as people
from app.broker.audit import answers as recorded
from app.broker.edits import answers as editing
from app.broker.edits import planning
from app.broker.holders import answer_holders
from app.broker.host import Host, Reply
from app.broker.objects import answer_links, answer_maps, answer_progs
from app.broker.opening import answer_btf, answer_map_open, answer_pin_open
from app.broker.peers import Asker, Peer
from app.broker.pins import answer_pins
from app.broker.probes import answer_hello
from app.broker.proxied import answer_batch, answer_lookup, answer_next_key
from app.broker.ring import answer_ring
from app.broker.storage import answer_inode_storage, answer_sk_storage
from app.wire import accounts, bodies, edits, records
from app.wire.frame import INLINE_BYTES
from app.wire.verbs import SHAPES, Verb

_ANY = Peer.ROOT | Peer.WEB | Peer.RECORDER
_PAGES = Peer.ROOT | Peer.WEB
_ROOT = Peer.ROOT
_HISTORY = Peer.ROOT | Peer.RECORDER


class Told(Enum):
    """What an answer is told beside the question."""

    NOTHING = "it depends on the question alone"
    ASKER = "who asks: somebody must be allowed to, and it may be written down"


@dataclass(frozen=True, slots=True)
class Request:
    """One row."""

    verb: Verb
    body: type[bodies.Body]
    body_limit_bytes: int
    needs: Peer
    """Any of these may ask."""
    answer: Callable[..., Reply]
    told: Told = Told.NOTHING

    def reply(self, host: Host, body: bodies.Body, asker: Asker) -> Reply:
        """Answer one question."""
        return self.answer(host, body, asker) if self.told is Told.ASKER else self.answer(host, body)

    @property
    def decoder(self) -> msgspec.msgpack.Decoder[bodies.Body]:
        """Decodes exactly `body`, and refuses anything else."""
        return _DECODERS[self.verb]


REQUESTS = (
    #       verb                body                 bytes         who      answer
    Request(Verb.HELLO,         bodies.AskNothing,   16,           _ANY,    answer_hello),
    Request(Verb.MAPS,          bodies.AskNothing,   16,           _ANY,    answer_maps),
    Request(Verb.PROGS,         bodies.AskNothing,   16,           _ANY,    answer_progs),
    Request(Verb.LINKS,         bodies.AskNothing,   16,           _ANY,    answer_links),
    Request(Verb.PINS,          bodies.AskNothing,   16,           _ANY,    answer_pins),
    Request(Verb.HOLDERS,       bodies.AskNothing,   16,           _ANY,    answer_holders),
    Request(Verb.MAP_OPEN,      bodies.AskId,        16,           _ANY,    answer_map_open),  # sends one BPF_F_RDONLY descriptor
    Request(Verb.PIN_OPEN,      bodies.AskPin,       4_200,        _ANY,    answer_pin_open),  # sends one BPF_F_RDONLY descriptor
    Request(Verb.BTF,           bodies.AskId,        16,           _ANY,    answer_btf),
    Request(Verb.LOOKUP,        bodies.AskLookup,    INLINE_BYTES, _ANY,    answer_lookup),
    Request(Verb.NEXT_KEY,      bodies.AskNextKey,   INLINE_BYTES, _ANY,    answer_next_key),
    Request(Verb.BATCH,         bodies.AskBatch,     INLINE_BYTES, _ANY,    answer_batch),
    Request(Verb.RING,          bodies.AskRing,      32,           _ANY,    answer_ring),
    Request(Verb.SK_STORAGE,    bodies.AskStorage,   32,           _ANY,    answer_sk_storage),
    Request(Verb.INODE_STORAGE, bodies.AskStorage,   INLINE_BYTES, _ANY,    answer_inode_storage),
    # people
    Request(Verb.SIGN_IN,       accounts.AskSignIn,       4_096,        _PAGES, people.answer_sign_in,      Told.ASKER),
    Request(Verb.LINK_MAKE,     accounts.AskLinkMake,     512,          _ROOT,  people.answer_link_make,    Told.ASKER),
    Request(Verb.LINK_USE,      accounts.AskLinkUse,      4_096,        _PAGES, people.answer_link_use,     Told.ASKER),
    Request(Verb.VOUCHED,       accounts.AskVouched,      4_096,        _PAGES, people.answer_vouched,      Told.ASKER),
    Request(Verb.SESSION,       accounts.AskSession,      1_024,        _PAGES, people.answer_session,      Told.ASKER),
    Request(Verb.SIGN_OUT,      accounts.AskAsSomebody,   2_048,        _PAGES, people.answer_sign_out,     Told.ASKER),
    Request(Verb.ELEVATE,       accounts.AskElevate,      4_096,        _PAGES, people.answer_elevate,      Told.ASKER),
    Request(Verb.DROP,          accounts.AskAsSomebody,   2_048,        _PAGES, people.answer_drop,         Told.ASKER),
    Request(Verb.SESSIONS,      accounts.AskAsSomebody,   2_048,        _PAGES, people.answer_sessions,     Told.ASKER),
    Request(Verb.SESSION_END,   accounts.AskNamed,        2_048,        _PAGES, people.answer_session_end,  Told.ASKER),
    Request(Verb.USER_ADD,      accounts.AskUserAdd,      4_096,        _PAGES, people.answer_user_add,     Told.ASKER),
    Request(Verb.USER_ROLE,     accounts.AskUserRole,     2_048,        _PAGES, people.answer_user_role,    Told.ASKER),
    Request(Verb.USER_REMOVE,   accounts.AskNamed,        2_048,        _PAGES, people.answer_user_remove,  Told.ASKER),
    Request(Verb.USERS,         accounts.AskAsSomebody,   2_048,        _PAGES, people.answer_users,        Told.ASKER),
    Request(Verb.PASSWORD,      accounts.AskPassword,     4_096,        _PAGES, people.answer_password,     Told.ASKER),
    Request(Verb.TOKEN_MAKE,    accounts.AskTokenMake,    2_048,        _PAGES, people.answer_token_make,   Told.ASKER),
    Request(Verb.TOKENS,        accounts.AskAsSomebody,   2_048,        _PAGES, people.answer_tokens,       Told.ASKER),
    Request(Verb.TOKEN_REVOKE,  accounts.AskNamed,        2_048,        _PAGES, people.answer_token_revoke, Told.ASKER),
    # edits, each under the asker's own session
    Request(Verb.MAY,           edits.AskMay,             2_048,        _PAGES, editing.answer_may,         Told.ASKER),
    Request(Verb.EDIT,          edits.AskEdit,            INLINE_BYTES, _PAGES, editing.answer_edit,        Told.ASKER),
    Request(Verb.UNDO,          edits.AskUndo,            8_192,        _PAGES, editing.answer_undo,        Told.ASKER),
    Request(Verb.RECORDS,       records.AskRecords,       4_096,        _PAGES, recorded.answer_records,    Told.ASKER),
    Request(Verb.RECORD,        records.AskRecord,        2_048,        _PAGES, recorded.answer_record,     Told.ASKER),
    Request(Verb.VERIFY,        records.AskVerify,        2_048,        _PAGES, recorded.answer_verify,     Told.ASKER),
    Request(Verb.PLAN_MAKE,     edits.AskPlanMake,        8_192,        _PAGES, planning.answer_plan_make,  Told.ASKER),
    Request(Verb.PLAN_ROWS,     edits.AskPlanRows,        INLINE_BYTES, _PAGES, planning.answer_plan_rows,  Told.ASKER),
    Request(Verb.PLAN,          edits.AskPlan,            2_048,        _PAGES, planning.answer_plan,       Told.ASKER),
    Request(Verb.PLANS,         edits.AskPlans,           2_048,        _PAGES, planning.answer_plans,      Told.ASKER),
    Request(Verb.PLAN_STEP,     edits.AskPlanStep,        2_048,        _PAGES, planning.answer_plan_step,  Told.ASKER),
    Request(Verb.HIDDEN,        edits.AskHidden,          8_192,        _PAGES, editing.answer_hidden,      Told.ASKER),
    Request(Verb.HISTORY,       records.AskHistory,       INLINE_BYTES, _HISTORY, recorded.answer_history,  Told.ASKER),
)  # fmt: skip

BY_VERB: dict[int, Request] = {int(request.verb): request for request in REQUESTS}

_DECODERS: dict[Verb, msgspec.msgpack.Decoder[bodies.Body]] = {
    verb: msgspec.msgpack.Decoder(shape.question) for verb, shape in SHAPES.items()
}
