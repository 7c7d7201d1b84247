"""Fields changed by a program of ours in real maps, of every width and place, beside everything else in the value."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.broker.swap.edit import BadEdit, Edit, Result
from app.broker.swap.field import BadField, Field, NumberTooLarge, Order
from app.broker.swap.plan import Method
from app.broker.swap.program import Operation
from app.broker.swap.run import Editor, run
from app.broker.swap.target import AnotherMap, target_of
from app.uapi import confine
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.syscall import MapSpec, map_delete, map_lookup, map_update
from tests.broker.swapping import KEY, copying_update, deletion, typed_map
from tests.livemaps import live_map

pytestmark = pytest.mark.kernel

VALUE = bytes(range(0x81, 0x81 + 24))
PLAIN = (BpfMapType.HASH, BpfMapType.ARRAY, BpfMapType.LRU_HASH)
PER_CPU = (BpfMapType.PERCPU_HASH, BpfMapType.PERCPU_ARRAY, BpfMapType.LRU_PERCPU_HASH)


def spec(type_: BpfMapType = BpfMapType.HASH, value_size: int = 24, flags: int = 0) -> MapSpec:
    return MapSpec(type=type_, key_size=4, value_size=value_size, max_entries=16, flags=flags, name=b"atlas_swap")


def value_of(fd: int, key: bytes = KEY, size_bytes: int = 24) -> bytes:
    value = bytearray(size_bytes)
    assert map_lookup(fd, key, value)
    return bytes(value)


def model(value: bytes, field: Field, number: int) -> bytes:
    """The value with the field set, by arithmetic on the value as one number."""
    if field.byte_order == "big":
        first, size = field.offset_bits // 8, field.size_bits // 8
        return value[:first] + (number % (1 << field.size_bits)).to_bytes(size, "big") + value[first + size :]
    mask = ((1 << field.size_bits) - 1) << field.offset_bits
    whole = int.from_bytes(value, "little") & ~mask | number << field.offset_bits & mask
    return whole.to_bytes(len(value), "little")


FIELDS = [
    Field(offset_bits=at * 8, size_bits=size * 8, signed=signed, byte_order=order)
    for size, at, signed, order in itertools.product(range(1, 9), range(16), (False, True), ("little", "big"))
    if at % 8 + size <= 8
]


@pytest.mark.parametrize("type_", PLAIN)
def test_every_width_at_every_place_in_either_order_signed_or_not(type_: BpfMapType) -> None:
    assert len(FIELDS) == 288
    with live_map(spec(type_), [(KEY, VALUE)]) as fd:
        target = target_of(fd)
        for field in FIELDS:
            map_update(fd, KEY, VALUE)
            old, new = field.read(VALUE), field.least if field.signed else field.most
            with Editor(fd, target, field) as editor:
                assert editor.plan.method is Method.KERNEL_SWAP
                stale = editor.run(Edit(key=KEY, number=new, expected=new))
                assert (stale.result, stale.before, stale.now) == (Result.CONFLICT, old, old), field
                assert value_of(fd) == VALUE
                done = editor.run(Edit(key=KEY, number=new, expected=old))
            assert (done.result, done.before, done.written, done.now) == (Result.DONE, old, new, new), field
            assert done.value == value_of(fd) == model(VALUE, field, new), field


@pytest.mark.parametrize(
    ("offset_bits", "size_bits"), [(0, 1), (3, 5), (7, 2), (13, 11), (31, 2), (63, 1), (1, 63), (67, 40)]
)
@pytest.mark.parametrize("signed", [False, True])
def test_bit_fields_at_odd_places(offset_bits: int, size_bits: int, signed: bool) -> None:
    field = Field(offset_bits=offset_bits, size_bits=size_bits, signed=signed)
    with live_map(spec(), [(KEY, VALUE)]) as fd:
        target = target_of(fd)
        for new in {field.least, field.most, 0}:
            map_update(fd, KEY, VALUE)
            outcome = run(fd, target, field, Edit(key=KEY, number=new, expected=field.read(VALUE)))
            assert (outcome.result, outcome.method, outcome.now) == (Result.DONE, Method.KERNEL_SWAP, new)
            assert value_of(fd) == model(VALUE, field, new)


@pytest.mark.parametrize("type_", PER_CPU)
def test_one_cpu_of_a_per_cpu_value(type_: BpfMapType) -> None:
    field = Field(offset_bits=32, size_bits=16)
    stride = 24
    with live_map(spec(type_, 20)) as fd:
        for cpu in range(possible_cpus()):
            whole = b"".join(bytes([0x40 + each]) * stride for each in range(possible_cpus()))
            map_update(fd, KEY, whole)
            edit = Edit(key=KEY, number=0xBEEF, expected=(0x40 + cpu) * 0x101, cpu=cpu)
            outcome = run(fd, target_of(fd), field, edit)
            assert (outcome.result, outcome.method) == (Result.DONE, Method.KERNEL_SWAP)
            assert value_of(fd, size_bytes=len(whole)) == (
                whole[: cpu * stride + 4] + b"\xef\xbe" + whole[cpu * stride + 6 :]
            )


@pytest.mark.parametrize("type_", PER_CPU)
def test_all_cpus_of_a_per_cpu_value(type_: BpfMapType) -> None:
    field = Field(offset_bits=32, size_bits=16)
    count = possible_cpus()
    whole = b"".join(bytes([0x40 + each]) * 24 for each in range(count))
    expected = [(0x40 + cpu) * 0x101 for cpu in range(count)]
    with live_map(spec(type_, 20), [(KEY, whole)]) as fd, Editor(fd, target_of(fd), field) as editor:
        edit = Edit(key=KEY, number=3, expected=0)
        stale = editor.run_on_all(edit, [*expected[:-1], 9])
        assert [outcome.result for outcome in stale] == [Result.CONFLICT]
        assert value_of(fd, size_bytes=len(whole)) == whole
        outcomes = editor.run_on_all(edit, expected)
        assert [(outcome.result, outcome.before, outcome.now) for outcome in outcomes] == [
            (Result.DONE, number, 3) for number in expected
        ]
        with pytest.raises(BadEdit, match="takes a CPU from 0"):
            editor.run(Edit(key=KEY, number=3, expected=3, cpu=count))
        with pytest.raises(BadEdit, match="takes a CPU from 0"):
            editor.run(Edit(key=KEY, number=3, expected=3))


@pytest.mark.parametrize(
    ("operation", "operand", "before", "after"),
    [
        (Operation.EXCHANGE, 5, 0x1234, 5),
        (Operation.ADD, 1, 0xFFFF, 0),
        (Operation.ADD, -1, 0, 0xFFFF),
        (Operation.ADD, 0x0FF0, 0x1234, 0x2224),
        (Operation.AND, 0x0FF0, 0x1234, 0x0230),
        (Operation.OR, 0x0FF0, 0x1234, 0x1FF4),
    ],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_operations_that_expect_nothing(
    operation: Operation, operand: int, before: int, after: int, order: Order
) -> None:
    field = Field(offset_bits=16, size_bits=16, byte_order=order)
    value = model(VALUE, field, before)
    with live_map(spec(), [(KEY, value)]) as fd:
        outcome = run(fd, target_of(fd), field, Edit(key=KEY, number=operand, operation=operation))
        assert (outcome.result, outcome.before, outcome.written, outcome.now) == (Result.DONE, before, after, after)
        assert value_of(fd) == model(VALUE, field, after)


def test_a_missing_key_is_told_and_not_made() -> None:
    with live_map(spec()) as fd:
        outcome = run(fd, target_of(fd), Field(offset_bits=0, size_bits=32), Edit(key=KEY, number=1, expected=0))
        assert (outcome.result, outcome.before, outcome.value) == (Result.NO_ENTRY, None, None)
        assert not map_lookup(fd, KEY, bytearray(24))


def test_an_index_beyond_an_array_is_no_entry() -> None:
    with live_map(spec(BpfMapType.ARRAY)) as fd:
        edit = Edit(key=(16).to_bytes(4, "little"), number=1, expected=0)
        assert run(fd, target_of(fd), Field(offset_bits=0, size_bits=32), edit).result is Result.NO_ENTRY


@pytest.mark.parametrize("flags", [0, BpfMapFlag.NO_PREALLOC])
@pytest.mark.parametrize("beside", [copying_update, deletion])
def test_an_element_replaced_between_look_up_and_swap_is_never_done(flags: int, beside: Callable[..., object]) -> None:
    field = Field(offset_bits=64, size_bits=64)
    with live_map(spec(flags=flags), [(KEY, VALUE)]) as fd:
        edit = Edit(key=KEY, number=1, expected=field.read(VALUE))
        with Editor(fd, target_of(fd), field, meanwhile=beside(fd)) as editor:  # type: ignore[arg-type]
            assert editor.plan.method is Method.KERNEL_SWAP
            outcome = editor.run(edit)
        assert outcome.result is Result.REPLACED
        if beside is deletion:
            assert outcome.now is None
        else:
            assert outcome.now == 0x11
            assert value_of(fd)[8:16] == (0x11).to_bytes(8, "little")


def test_an_element_deleted_and_made_anew_since_it_was_shown_is_compared_anew() -> None:
    field = Field(offset_bits=0, size_bits=32)
    with live_map(spec(), [(KEY, VALUE)]) as fd, Editor(fd, target_of(fd), field) as editor:
        map_delete(fd, KEY)
        edit = Edit(key=KEY, number=1, expected=field.read(VALUE))
        assert editor.run(edit).result is Result.NO_ENTRY
        map_update(fd, KEY, bytes(24))
        assert editor.run(edit).result is Result.CONFLICT
        assert value_of(fd) == bytes(24)


def prefix(length: int, *address: int) -> bytes:
    return length.to_bytes(4, "little") + bytes(address)


@pytest.mark.parametrize("data_bytes", [4, 8, 16])
def test_a_trie_changes_the_very_prefix_or_nothing(data_bytes: int) -> None:
    rest = (0,) * (data_bytes - 4)
    wide, narrow = prefix(8, 10, 0, 0, 0, *rest), prefix(24, 10, 1, 2, 0, *rest)
    trie = MapSpec(
        type=BpfMapType.LPM_TRIE, key_size=4 + data_bytes, value_size=24, max_entries=8, flags=BpfMapFlag.NO_PREALLOC
    )
    everything = prefix(0, 0, 0, 0, 0, *rest)
    with live_map(trie, [(wide, VALUE), (narrow, VALUE), (everything, VALUE)]) as fd:
        field = Field(offset_bits=32, size_bits=32)
        old = field.read(VALUE)
        with Editor(fd, target_of(fd), field) as editor:
            assert editor.plan.method is Method.KERNEL_SWAP
            for missing in (
                prefix(16, 10, 1, 0, 0, *rest),
                prefix(25, 10, 1, 2, 0, *rest),
                prefix(7, 10, 0, 0, 0, *rest),
            ):
                assert editor.run(Edit(key=missing, number=1, expected=old)).result is Result.NO_ENTRY
            assert [value_of(fd, key) for key in (wide, narrow, everything)] == [VALUE] * 3
            for number, key in enumerate((narrow, wide, everything)):
                assert editor.run(Edit(key=key, number=number, expected=old)).result is Result.DONE
                assert value_of(fd, key) == model(VALUE, field, number)


def test_a_trie_whose_values_are_not_aligned_is_changed_by_the_value_and_only_the_very_prefix() -> None:
    key, longer = prefix(24, 10, 1, 2, 0, 0, 0, 0), prefix(25, 10, 1, 2, 0, 0, 0, 0)
    trie = MapSpec(type=BpfMapType.LPM_TRIE, key_size=11, value_size=24, max_entries=8, flags=BpfMapFlag.NO_PREALLOC)
    field = Field(offset_bits=32, size_bits=32)
    with live_map(trie, [(key, VALUE)]) as fd, Editor(fd, target_of(fd), field) as editor:
        assert editor.plan.method is Method.UPDATE
        old = field.read(VALUE)
        assert editor.run(Edit(key=longer, number=1, expected=old)).result is Result.NO_ENTRY
        assert value_of(fd, key) == VALUE
        assert editor.run(Edit(key=key, number=1, expected=old)).result is Result.DONE
        assert value_of(fd, key) == model(VALUE, field, 1)


def test_keys_longer_than_a_stack() -> None:
    key = os.urandom(700)
    long = MapSpec(type=BpfMapType.HASH, key_size=700, value_size=24, max_entries=4)
    with live_map(long, [(key, VALUE)]) as fd:
        outcome = run(fd, target_of(fd), Field(offset_bits=0, size_bits=8), Edit(key=key, number=1, expected=0x81))
        assert outcome.result is Result.DONE


def test_what_makes_no_sense_is_refused_before_anything_is_written() -> None:
    field = Field(offset_bits=0, size_bits=8, signed=True)
    with live_map(spec(), [(KEY, VALUE)]) as fd, Editor(fd, target_of(fd), field) as editor:
        with pytest.raises(NumberTooLarge, match="takes -128 to 127, not 128"):
            editor.run(Edit(key=KEY, number=128, expected=0))
        with pytest.raises(BadEdit, match="expected number"):
            editor.run(Edit(key=KEY, number=1))
        with pytest.raises(BadEdit, match="has 4 bytes, not 2"):
            editor.run(Edit(key=b"ab", number=1, expected=0))
        with pytest.raises(BadEdit, match="one value for all CPUs"):
            editor.run(Edit(key=KEY, number=1, expected=0, cpu=0))
        with pytest.raises(BadEdit, match="more than a field of 8 bits"):
            editor.run(Edit(key=KEY, number=256, operation=Operation.ADD))
        with pytest.raises(BadField, match="ends at byte 32"):
            Editor(fd, target_of(fd), Field(offset_bits=192, size_bits=64))
        assert value_of(fd) == VALUE


def test_another_map_than_the_one_shown_is_not_touched() -> None:
    with live_map(spec(), [(KEY, VALUE)]) as shown, live_map(spec(), [(KEY, VALUE)]) as other:
        with pytest.raises(AnotherMap, match="its id is"):
            Editor(other, target_of(shown), Field(offset_bits=0, size_bits=8))
        assert value_of(other) == VALUE


@pytest.mark.parametrize("lock", [False, True])
def test_two_capabilities_are_enough(lock: bool) -> None:
    """CAP_BPF and CAP_PERFMON, as the broker has them; without the second the kernel takes no program."""
    declared = "struct bpf_spin_lock { unsigned val; }; struct v { struct bpf_spin_lock lock; unsigned a; };"
    field = Field(offset_bits=32, size_bits=32)
    with typed_map(declared if lock else "struct v { unsigned a, b; };") as fd:
        map_update(fd, KEY, bytes(8))
        target = target_of(fd)

        def method(kept: set[confine.Capability]) -> str:
            def work() -> str:
                with Editor(fd, target, field) as editor:
                    assert editor.run(Edit(key=KEY, number=0, expected=0)).result is Result.DONE
                    return editor.plan.method.name

            return in_child(kept, work)

        assert method({confine.Capability.BPF, confine.Capability.PERFMON}) == "KERNEL_SWAP"
        assert method({confine.Capability.BPF}) == ("LOCKED_UPDATE" if lock else "UPDATE")


def in_child(kept: set[confine.Capability], work: Callable[[], str]) -> str:
    """What `work` says in a child that has these capabilities alone."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            confine._set_capabilities(kept)
            said = work()
        except Exception as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


@st.composite
def places(draw: st.DrawFn) -> tuple[int, Field]:
    value_size = draw(st.integers(1, 40))
    bits = draw(st.integers(1, min(64, value_size * 8)))
    if draw(st.booleans()) and bits >= 8:
        bits -= bits % 8
        start = draw(st.integers(0, value_size - bits // 8)) * 8
        order: Order = draw(st.sampled_from(("little", "big")))
    else:
        start, order = draw(st.integers(0, value_size * 8 - bits)), "little"
    return value_size, Field(offset_bits=start, size_bits=bits, signed=draw(st.booleans()), byte_order=order)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=places(), data=st.data())
def test_any_field_of_any_value_becomes_what_a_model_says_and_no_other_bit_changes(
    place: tuple[int, Field], data: st.DataObject
) -> None:
    value_size, field = place
    value = data.draw(st.binary(min_size=value_size, max_size=value_size))
    new = data.draw(st.integers(field.least, field.most))
    with live_map(spec(value_size=value_size), [(KEY, value)]) as fd:
        outcome = run(fd, target_of(fd), field, Edit(key=KEY, number=new, expected=field.read(value)))
        assert (outcome.result, outcome.now) == (Result.DONE, new)
        assert outcome.value == value_of(fd, size_bytes=value_size) == model(value, field, new)
