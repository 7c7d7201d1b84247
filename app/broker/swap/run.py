"""Edits of one field of one map: the program is loaded once, each edit is one run of it, or the best that is left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from app.broker.assembly import Assembly
from app.broker.errors import BrokerError
from app.broker.objects import map_facts
from app.broker.swap import entry
from app.broker.swap.edit import BadEdit, Edit, Outcome, Result, becomes, check
from app.broker.swap.field import Field
from app.broker.swap.plan import Method, Plan, is_per_cpu, plan
from app.broker.swap.program import EXCHANGE, Operation, Recipe, Status, code, pack, private_size
from app.broker.swap.target import Target, check_same
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapType, BpfProgType
from app.uapi.errors import KernelError, OutOfMemory
from app.uapi.loading import ProgSpec, prog_load, prog_test_run
from app.uapi.syscall import MapSpec, map_create, map_lookup, map_update

_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE, v5.10; programs of type SYSCALL must be
_FRAME = bytes(14)  # an Ethernet header: the least that a run of a program on packets takes
_HOSTS = (
    # CAP_BPF and CAP_PERFMON are enough for these two; a socket filter may not touch values with a lock.
    (BpfProgType.SOCKET_FILTER, 0, _FRAME),
    (BpfProgType.SYSCALL, _SLEEPABLE, b""),
    # Takes CAP_NET_ADMIN or CAP_SYS_ADMIN too. SYSCALL came with Linux commit 79a7f8bdb159 (in v5.14).
    (BpfProgType.SCHED_CLS, 0, _FRAME),
)
Meanwhile = Callable[[Assembly], None]
"""See Recipe.meanwhile."""
_BYTE_BITS = 8
_ROUNDS = 64
"""Runs of a program that found the word changing under it each time."""
_ZERO = bytes(4)

_RESULTS = {
    Status.CONFLICT: Result.CONFLICT,
    Status.NO_ENTRY: Result.NO_ENTRY,
    Status.CONTENDED: Result.CONTENDED,
    Status.REPLACED: Result.REPLACED,
    Status.WRITTEN: Result.DONE,
}


class NotRun(BrokerError):
    """BPF_PROG_TEST_RUN answered well, and the program left no trace."""


class Editor:
    """Changes one field in entries of one map. What it will do is known, in `plan`, before anything is written.

    map_fd  open for reading and writing; the caller's, and open as long as the editor is used
    target  the map as it was shown; AnotherMap is raised if the descriptor leads elsewhere

    One thread at a time: key, operands and result are in one private map.
    """

    def __init__(self, map_fd: int, target: Target, field: Field, *, meanwhile: Meanwhile | None = None) -> None:
        self._meanwhile = meanwhile
        check_same(target.facts, map_facts(map_fd, None))
        self.target = target
        self.field = field
        self._map_fd = map_fd
        self._private_fd = -1
        self._programs: dict[Operation, tuple[int, bytes]] = {}
        self.plan: Plan = plan(target, field)
        if self.plan.method.in_kernel:
            try:
                self._program(Operation.COMPARE_AND_SWAP)
            except OutOfMemory:
                self.close()
                raise
            except KernelError as error:
                self.close()
                self.plan = plan(target, field, refused=str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let programs and private map go."""
        for prog_fd, _ in self._programs.values():
            os.close(prog_fd)
        self._programs.clear()
        if self._private_fd >= 0:
            os.close(self._private_fd)
            self._private_fd = -1

    def run(self, edit: Edit) -> Outcome:
        """One edit, and the entry read again.

        raises  BadEdit, NumberTooLarge: nothing is written. KernelError: whether it was is not known, since the reading
                afterwards may have failed too
        """
        self._check(edit)
        method = self.plan.method
        # A program could write to a frozen map: what its owner decided counts for this one too.
        if method is Method.REFUSED or map_facts(self._map_fd, None).frozen:
            return Outcome(result=Result.REFUSED, method=Method.REFUSED)
        if not method.in_kernel:
            return entry.change(self._map_fd, self.target, self.field, self.plan, edit)
        if (
            edit.operation is Operation.ADD
            and self.field.byte_order != sys.byteorder
            and self.field.size_bits > _BYTE_BITS
        ):
            return self._add_swapped(edit)
        return self._run(edit)

    def run_on_all(self, edit: Edit, expected: Sequence[int]) -> tuple[Outcome, ...]:
        """The same edit of a per-CPU entry on every CPU, one after another; stops at the first that is not DONE.

        expected  one number a possible CPU, compared with all of them before the first is written
        returns   an outcome for each CPU that was tried; each is one step, all of them together are not
        """
        if not is_per_cpu(self.target) or len(expected) != possible_cpus():
            raise BadEdit(f"this takes a per-CPU map and {possible_cpus()} expected numbers")
        each = tuple(self._on(edit, cpu, number) for cpu, number in enumerate(expected))
        for one in each:
            self._check(one)
        if self.plan.method in (Method.UPDATE, Method.LOCKED_UPDATE):
            return entry.change_all(self._map_fd, self.target, self.field, self.plan, each)
        if edit.operation is Operation.COMPARE_AND_SWAP:
            for one in each:
                value = entry.read(self._map_fd, self.target, one)
                found = None if value is None else self.field.read(value)
                if found != one.expected:
                    result = Result.NO_ENTRY if value is None else Result.CONFLICT
                    return (Outcome(result=result, method=self.plan.method, before=found, now=found, value=value),)
        outcomes: list[Outcome] = []
        for one in each:
            outcomes.append(self.run(one))
            if outcomes[-1].result is not Result.DONE:
                break
        return tuple(outcomes)

    @staticmethod
    def _on(edit: Edit, cpu: int, expected: int) -> Edit:
        compared = edit.operation is Operation.COMPARE_AND_SWAP
        return Edit(
            key=edit.key,
            number=edit.number,
            operation=edit.operation,
            expected=expected if compared else None,
            cpu=cpu,
            seen=edit.seen,
        )

    def _check(self, edit: Edit) -> None:
        check(self.field, edit)
        if len(edit.key) != self.target.facts.key_size:
            raise BadEdit(f"a key of this map has {self.target.facts.key_size} bytes, not {len(edit.key)}")
        if is_per_cpu(self.target):
            if edit.cpu is None or not 0 <= edit.cpu < possible_cpus():
                raise BadEdit(f"a per-CPU map takes a CPU from 0 to {possible_cpus() - 1}")
        elif edit.cpu is not None:
            raise BadEdit("this map has one value for all CPUs")

    def _run(self, edit: Edit) -> Outcome:
        status, before, written = self._rounds(edit)
        value = entry.read(self._map_fd, self.target, edit)
        now = None if value is None else self.field.read(value)
        result = _RESULTS[status]
        if result is Result.DONE and now is None:
            result = Result.REPLACED
        elif result is Result.DONE and now != edit.number and edit.operation in _SETTING:
            result = Result.OVERTAKEN
        wrote = status in (Status.WRITTEN, Status.REPLACED)
        return Outcome(
            result=result,
            method=self.plan.method,
            before=None if status is Status.NO_ENTRY else before,
            written=written if wrote else None,
            now=now,
            value=value,
        )

    def _rounds(self, edit: Edit) -> tuple[Status, int, int]:
        """Run the program, again while it is contended: status, field before, field written."""
        word = self.plan.word
        if word is None:
            raise BadEdit("this plan has no word to swap")
        prog_fd, data = self._program(edit.operation)
        number = self.field.wrapped(edit.number)
        private = pack(
            key=edit.key,
            expected=word.placed(edit.expected or 0),
            operand=word.placed(number),
            cpu=edit.cpu or 0,
            longest_prefix=self.target.facts.type == BpfMapType.LPM_TRIE,
        )
        answer = bytearray(len(private))
        status, before, written = Status.NOT_RUN, 0, 0
        for _ in range(_ROUNDS):
            map_update(self._private_fd, _ZERO, private)
            prog_test_run(prog_fd, data)
            map_lookup(self._private_fd, _ZERO, answer)
            found, before, written, *_rest = EXCHANGE.unpack_from(answer)
            status = Status(found)
            if status is not Status.CONTENDED:
                break
        if status is Status.NOT_RUN:
            raise NotRun("the kernel took the program and did not run it; nothing was written")
        return status, word.taken(before), word.taken(written)

    def _add_swapped(self, edit: Edit) -> Outcome:
        """Add in the other byte order, which no instruction does: swap what was read for its sum until that succeeds."""
        for _ in range(_ROUNDS):
            value = entry.read(self._map_fd, self.target, edit)
            if value is None:
                return Outcome(result=Result.NO_ENTRY, method=self.plan.method)
            current = self.field.read(value)
            swap = Edit(key=edit.key, number=becomes(self.field, edit, current), expected=current, cpu=edit.cpu)
            outcome = self._run(swap)
            if outcome.result is not Result.CONFLICT:
                return outcome
        return Outcome(result=Result.CONTENDED, method=self.plan.method)

    def _program(self, operation: Operation) -> tuple[int, bytes]:
        """Descriptor of the program for an operation, and what its run takes as data."""
        if operation not in self._programs:
            self._programs[operation] = self._load(operation)
        return self._programs[operation]

    def _load(self, operation: Operation) -> tuple[int, bytes]:
        facts, chosen = self.target.facts, self.plan
        if chosen.word is None:
            raise BadEdit("this plan has no word to swap")
        if self._private_fd < 0:
            self._private_fd = map_create(
                MapSpec(
                    type=BpfMapType.ARRAY,
                    key_size=4,
                    value_size=private_size(facts.key_size),
                    max_entries=1,
                    name=b"swap",
                )
            )
        insns = code(
            Recipe(
                map_fd=self._map_fd,
                private_fd=self._private_fd,
                key_size=facts.key_size,
                word=chosen.word,
                operation=operation,
                atomic=chosen.method is Method.KERNEL_SWAP,
                per_cpu=is_per_cpu(self.target),
                longest_prefix=facts.type == BpfMapType.LPM_TRIE,
                lock_offset_bytes=chosen.lock_offset_bytes,
                meanwhile=self._meanwhile,
            )
        )
        refusal: KernelError | None = None
        for kind, flags, data in _HOSTS:
            try:
                return prog_load(ProgSpec(type=kind, insns=insns, name=b"swap", flags=flags)), data
            except KernelError as error:
                refusal = refusal or error
        raise refusal or BadEdit("no program type can hold the program")


_SETTING = (Operation.COMPARE_AND_SWAP, Operation.EXCHANGE)
"""Operations after which the field holds the number of the edit, not one made of it."""


def run(map_fd: int, target: Target, field: Field, edit: Edit) -> Outcome:
    """One edit of one entry with a program of its own; an Editor serves several."""
    with Editor(map_fd, target, field) as editor:
        return editor.run(edit)
