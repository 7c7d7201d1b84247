"""10,000 edits beside a program that counts as fast as it can on all CPUs: what a swap keeps, and an update loses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.broker.assembly import EQ, R0, R1, R2, R3, R4, R7, R10, U32, U64, Assembly
from app.broker.swap.edit import Edit, Result
from app.broker.swap.field import Field
from app.broker.swap.plan import Method, plan
from app.broker.swap.program import Operation, Recipe, code, pack
from app.broker.swap.run import Editor
from app.broker.swap.target import target_of
from app.uapi.enums import BpfMapFlag, BpfMapType, BpfProgType
from app.uapi.loading import ProgSpec, prog_load, prog_test_run
from app.uapi.syscall import MapSpec, map_lookup, map_update
from tests.broker.swapping import FRAME, KEY, busy, counting, on_element
from tests.livemaps import live_map

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

EDITS = 10_000
THREADS = os.cpu_count() or 1
REPEAT = 5_000


@dataclass(frozen=True)
class Place:
    """The field that is edited, and the bit of the u64 at byte 0 from which a counter takes the rest of it."""

    field: Field
    counter_at_bits: int


BESIDE = Place(Field(offset_bits=64, size_bits=32), 0)
"""The common case: a u64 that counts, a u32 behind it."""
WITHIN_4 = Place(Field(offset_bits=0, size_bits=16), 16)
"""The counter is in the very word of 4 bytes that is swapped: each edit meets it."""
WITHIN_8 = Place(Field(offset_bits=24, size_bits=16), 40)
"""The same with a word of 8 bytes."""


@pytest.fixture(params=[BpfMapType.HASH, BpfMapType.ARRAY], ids=["hash", "array"])
def map_fd(request: pytest.FixtureRequest) -> Iterator[int]:
    spec = MapSpec(type=request.param, key_size=4, value_size=24, max_entries=16, name=b"atlas_race")
    with live_map(spec, [(KEY, bytes(24))]) as fd:
        yield fd


def counter(fd: int, place: Place) -> int:
    value = bytearray(24)
    assert map_lookup(fd, KEY, value)
    return int.from_bytes(value[:8], "little") >> place.counter_at_bits


@pytest.mark.parametrize("place", [BESIDE, WITHIN_4, WITHIN_8], ids=["beside", "within 4", "within 8"])
def test_a_counter_beside_swaps_loses_nothing_and_stale_expectations_conflict(map_fd: int, place: Place) -> None:
    prog_fd = counting(map_fd, KEY, 0, step=1 << place.counter_at_bits)
    seen, most = 0, place.field.most
    try:
        with Editor(map_fd, target_of(map_fd), place.field) as editor:
            assert editor.plan.method is Method.KERNEL_SWAP
            with busy(prog_fd, THREADS, repeat=REPEAT) as counts:
                for number in range(1, EDITS + 1):
                    if number % 10 == 0:
                        stale = editor.run(Edit(key=KEY, number=most, expected=most))
                        assert (stale.result, stale.before, stale.now) == (Result.CONFLICT, seen, seen)
                    done = editor.run(Edit(key=KEY, number=number, expected=seen))
                    assert (done.result, done.before, done.now) == (Result.DONE, seen, number)
                    seen = number
        assert sum(counts) > EDITS
        assert counter(map_fd, place) == sum(counts) % (1 << 64 - place.counter_at_bits)
    finally:
        os.close(prog_fd)


@pytest.mark.parametrize("place", [WITHIN_4, WITHIN_8], ids=["4", "8"])
@pytest.mark.parametrize("atomic", [True, False])
def test_a_counter_in_the_very_word_lives_through_a_million_swaps(map_fd: int, place: Place, atomic: bool) -> None:
    """Single edits seldom meet the counter within their nanoseconds, so here the program itself runs without a pause.

    The same program with a load and a store in place of the atomic instruction is seen to lose.
    """
    target = target_of(map_fd)
    word = plan(target, place.field).word
    assert word is not None
    private = pack(key=KEY, expected=0, operand=word.placed(0xA5C3), cpu=0, longest_prefix=False)
    spec = MapSpec(type=BpfMapType.ARRAY, key_size=4, value_size=len(private), max_entries=1)
    step = 1 << place.counter_at_bits
    with live_map(spec, [(bytes(4), private)]) as private_fd:
        recipe = Recipe(
            map_fd=map_fd,
            private_fd=private_fd,
            key_size=4,
            word=word,
            operation=Operation.EXCHANGE,
            atomic=atomic,
        )
        swap_fd = prog_load(ProgSpec(type=BpfProgType.SOCKET_FILTER, insns=code(recipe)))
        count_fd = counting(map_fd, KEY, 0, step=step)
        try:
            # Where another load takes the CPUs one burst may never meet the counter; the real one has to keep three.
            kept = [burst(map_fd, swap_fd, count_fd, place) for _ in range(3)]
            while not atomic and all(kept) and len(kept) < 60:
                kept.append(burst(map_fd, swap_fd, count_fd, place))
        finally:
            os.close(swap_fd)
            os.close(count_fd)
    assert all(kept) is atomic


def burst(map_fd: int, swap_fd: int, count_fd: int, place: Place) -> bool:
    """Both programs side by side; whether the counter has kept every count."""
    map_update(map_fd, KEY, bytes(24))
    with busy(count_fd, 1, repeat=50_000) as counts:
        for _ in range(34):
            prog_test_run(swap_fd, FRAME, repeat=10_000)
    assert sum(counts) >= 50_000
    return counter(map_fd, place) == sum(counts) % (1 << 64 - place.counter_at_bits)


def test_the_same_with_whole_values_loses_counts(map_fd: int) -> None:
    prog_fd = counting(map_fd, KEY, 0)
    target = target_of(map_fd)
    try:
        with Editor(map_fd, target, BESIDE.field) as editor:
            editor.plan = plan(target, BESIDE.field, refused="to see what is lost")
            assert editor.plan.method is Method.UPDATE
            with busy(prog_fd, THREADS, repeat=REPEAT) as counts:
                for number in range(EDITS):
                    assert editor.run(Edit(key=KEY, number=number + 1, expected=number)).result is Result.DONE
        assert counter(map_fd, BESIDE) < sum(counts)
    finally:
        os.close(prog_fd)


def test_a_field_of_eight_bytes_is_never_seen_half_written(map_fd: int) -> None:
    """Both halves of each number are alike; a program reads the field all the while and says so if they are not."""
    prog_fd = halves(map_fd)
    field = Field(offset_bits=64, size_bits=64)
    seen = 0
    try:
        with Editor(map_fd, target_of(map_fd), field) as editor, busy(prog_fd, THREADS, repeat=REPEAT) as counts:
            for number in range(1, 2_001):
                both = number << 32 | number
                assert editor.run(Edit(key=KEY, number=both, expected=seen)).result is Result.DONE
                seen = both
        assert sum(counts)
        assert counter(map_fd, BESIDE) == 0
    finally:
        os.close(prog_fd)


def halves(map_fd: int) -> int:
    """A program that adds 1 to the counter when the two halves of the u64 at byte 8 are not alike."""

    def compare(asm: Assembly) -> None:
        asm.load(U64, R2, R7, 8)
        asm.move(R3, R2)
        asm.shift_right(R3, 32)
        asm.wide(R1, 0xFFFFFFFF)
        asm.and_register(R2, R1)
        asm.number(R1, 0)
        asm.jump_registers(EQ, R2, R3, "out")
        asm.number(R1, 1)
        asm.atomic_add(U64, R7, 0, R1)

    return on_element(map_fd, KEY, compare)


def test_a_field_that_a_program_changes_itself_is_told_as_overtaken(map_fd: int) -> None:
    prog_fd = counting(map_fd, KEY, 8)
    field = Field(offset_bits=64, size_bits=64)
    results = set()
    try:
        with Editor(map_fd, target_of(map_fd), field) as editor, busy(prog_fd, THREADS, repeat=REPEAT):
            for number in range(EDITS):
                edit = Edit(key=KEY, number=number << 40, operation=Operation.EXCHANGE)
                outcome = editor.run(edit)
                assert outcome.written == number << 40
                assert (outcome.result is Result.DONE) == (outcome.now == outcome.written)
                results.add(outcome.result)
                if Result.OVERTAKEN in results:
                    break
        assert results <= {Result.DONE, Result.OVERTAKEN}
        assert Result.OVERTAKEN in results
    finally:
        os.close(prog_fd)


@pytest.mark.parametrize("flags", [0, BpfMapFlag.NO_PREALLOC], ids=["preallocated", "not"])
def test_an_entry_that_programs_keep_replacing_is_seen_replaced_under_an_edit(flags: int) -> None:
    spec = MapSpec(type=BpfMapType.HASH, key_size=4, value_size=24, max_entries=16, flags=flags, name=b"atlas_race")
    field = Field(offset_bits=64, size_bits=32)
    results = set()
    with live_map(spec, [(KEY, bytes(8) + (100).to_bytes(8, "little") + bytes(8))]) as fd:
        prog_fd = replacing(fd)
        try:
            with Editor(fd, target_of(fd), field) as editor, busy(prog_fd, THREADS, repeat=2_000):
                for _ in range(20 * EDITS):
                    outcome = editor.run(Edit(key=KEY, number=101, expected=100))
                    # 200 is the other key's: an element that was recycled between look-up and swap, and left alone.
                    if outcome.result is Result.CONFLICT:
                        assert outcome.before in {101, 200}
                    else:
                        assert (outcome.before, outcome.written) == (100, 101)
                    results.add(outcome.result)
                    if Result.REPLACED in results:
                        break
        finally:
            os.close(prog_fd)
    assert Result.REPLACED in results


def replacing(map_fd: int) -> int:
    """A program that puts a new element in the place of the entry, and makes and deletes one under another key."""
    asm = Assembly()
    for key, number in ((KEY, 100), ((8).to_bytes(4, "little"), 200)):
        asm.store_number(U32, R10, -4, int.from_bytes(key, "little"))
        for at, held in ((-32, 0), (-24, number), (-16, 0)):
            asm.store_number(U64, R10, at, held)
        asm.map_fd(R1, map_fd)
        asm.move(R2, R10)
        asm.add(R2, -4)
        asm.move(R3, R10)
        asm.add(R3, -32)
        asm.number(R4, 0)
        asm.call(2)  # bpf_map_update_elem
    asm.map_fd(R1, map_fd)
    asm.move(R2, R10)
    asm.add(R2, -4)
    asm.call(3)  # bpf_map_delete_elem
    asm.number(R0, 0)
    asm.exit()
    return prog_load(ProgSpec(type=BpfProgType.SCHED_CLS, insns=asm.code(), name=b"replacing"))
