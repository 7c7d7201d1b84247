"""What can be asked of the broker: each verb with the body of its question and of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from app.wire import accounts, bodies, edits, records


class Verb(IntEnum):
    """Numbers are for ever: a new verb takes a new one."""

    HELLO = 1
    MAPS = 2
    PROGS = 3
    LINKS = 4
    PINS = 5
    HOLDERS = 6
    MAP_OPEN = 7
    PIN_OPEN = 8
    BTF = 9
    LOOKUP = 10
    NEXT_KEY = 11
    BATCH = 12
    RING = 13
    SK_STORAGE = 14
    INODE_STORAGE = 15
    SIGN_IN = 16
    LINK_MAKE = 17
    LINK_USE = 18
    VOUCHED = 19
    SESSION = 20
    SIGN_OUT = 21
    ELEVATE = 22
    DROP = 23
    SESSIONS = 24
    SESSION_END = 25
    USER_ADD = 26
    USER_ROLE = 27
    USER_REMOVE = 28
    USERS = 29
    PASSWORD = 30
    TOKEN_MAKE = 31
    TOKENS = 32
    TOKEN_REVOKE = 33
    MAY = 34
    EDIT = 35
    UNDO = 36
    RECORDS = 37
    RECORD = 38
    VERIFY = 39
    PLAN_MAKE = 40
    PLAN_ROWS = 41
    PLAN = 42
    PLANS = 43
    PLAN_STEP = 44
    HIDDEN = 45
    HISTORY = 46


ONCE = (
    frozenset(Verb)
    - {Verb.SESSION, Verb.MAY, Verb.HIDDEN, Verb.RECORDS, Verb.RECORD, Verb.PLAN, Verb.PLANS}
    - {verb for verb in Verb if verb <= Verb.INODE_STORAGE}
)
"""Questions that change something: never asked a second time because the first one's answer was lost."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The two bodies of one verb."""

    question: type[bodies.Body]
    answer: type[bodies.Body]


SHAPES: dict[Verb, Shape] = {
    Verb.HELLO: Shape(bodies.AskNothing, bodies.Hello),
    Verb.MAPS: Shape(bodies.AskNothing, bodies.MapList),
    Verb.PROGS: Shape(bodies.AskNothing, bodies.ProgList),
    Verb.LINKS: Shape(bodies.AskNothing, bodies.LinkList),
    Verb.PINS: Shape(bodies.AskNothing, bodies.PinList),
    Verb.HOLDERS: Shape(bodies.AskNothing, bodies.HolderList),
    Verb.MAP_OPEN: Shape(bodies.AskId, bodies.Opened),
    Verb.PIN_OPEN: Shape(bodies.AskPin, bodies.Opened),
    Verb.BTF: Shape(bodies.AskId, bodies.Bytes),
    Verb.LOOKUP: Shape(bodies.AskLookup, bodies.Found),
    Verb.NEXT_KEY: Shape(bodies.AskNextKey, bodies.NextKey),
    Verb.BATCH: Shape(bodies.AskBatch, bodies.Batch),
    Verb.RING: Shape(bodies.AskRing, bodies.Ring),
    Verb.SK_STORAGE: Shape(bodies.AskStorage, bodies.Storage),
    Verb.INODE_STORAGE: Shape(bodies.AskStorage, bodies.Storage),
    Verb.SIGN_IN: Shape(accounts.AskSignIn, accounts.Entered),
    Verb.LINK_MAKE: Shape(accounts.AskLinkMake, accounts.TokenMade),
    Verb.LINK_USE: Shape(accounts.AskLinkUse, accounts.Entered),
    Verb.VOUCHED: Shape(accounts.AskVouched, accounts.Entered),
    Verb.SESSION: Shape(accounts.AskSession, accounts.MaybeSession),
    Verb.SIGN_OUT: Shape(accounts.AskAsSomebody, accounts.Done),
    Verb.ELEVATE: Shape(accounts.AskElevate, accounts.Elevated),
    Verb.DROP: Shape(accounts.AskAsSomebody, accounts.Done),
    Verb.SESSIONS: Shape(accounts.AskAsSomebody, accounts.SessionList),
    Verb.SESSION_END: Shape(accounts.AskNamed, accounts.Done),
    Verb.USER_ADD: Shape(accounts.AskUserAdd, accounts.Done),
    Verb.USER_ROLE: Shape(accounts.AskUserRole, accounts.Done),
    Verb.USER_REMOVE: Shape(accounts.AskNamed, accounts.Done),
    Verb.USERS: Shape(accounts.AskAsSomebody, accounts.UserList),
    Verb.PASSWORD: Shape(accounts.AskPassword, accounts.Done),
    Verb.TOKEN_MAKE: Shape(accounts.AskTokenMake, accounts.TokenMade),
    Verb.TOKENS: Shape(accounts.AskAsSomebody, accounts.TokenList),
    Verb.TOKEN_REVOKE: Shape(accounts.AskNamed, accounts.Done),
    Verb.MAY: Shape(edits.AskMay, edits.May),
    Verb.EDIT: Shape(edits.AskEdit, edits.Report),
    Verb.UNDO: Shape(edits.AskUndo, edits.Report),
    Verb.RECORDS: Shape(records.AskRecords, records.Records),
    Verb.RECORD: Shape(records.AskRecord, records.RecordGroup),
    Verb.VERIFY: Shape(records.AskVerify, records.Verdict),
    Verb.PLAN_MAKE: Shape(edits.AskPlanMake, edits.PlanFacts),
    Verb.PLAN_ROWS: Shape(edits.AskPlanRows, edits.PlanFacts),
    Verb.PLAN: Shape(edits.AskPlan, edits.Plan),
    Verb.PLANS: Shape(edits.AskPlans, edits.Plans),
    Verb.PLAN_STEP: Shape(edits.AskPlanStep, edits.PlanFacts),
    Verb.HIDDEN: Shape(edits.AskHidden, edits.Hidden),
    Verb.HISTORY: Shape(records.AskHistory, records.Author),
}
