"""Which way is chosen for which map and field, that each way does what it says, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from app.broker.swap.edit import Edit, Result
from app.broker.swap.field import Field
from app.broker.swap.plan import Method, plan
from app.broker.swap.program import Operation
from app.broker.swap.run import Editor, run
from app.broker.swap.target import Kept, Target, kept_parts, target_of
from app.btf.types import Kind
from app.uapi.cpus import possible_cpus
from app.uapi.enums import BpfMapFlag, BpfMapType, BpfUpdateFlag
from app.uapi.syscall import MapSpec, map_freeze, map_lookup, map_update
from tests.broker.swapping import KEY, typed_map
from tests.btfs import compile_btf
from tests.livemaps import live_map

pytestmark = pytest.mark.kernel

U16, U32, U64 = (Field(offset_bits=64, size_bits=bits) for bits in (16, 32, 64))
VALUE = bytes(range(24))
SPIN = "struct bpf_spin_lock { unsigned val; };"
TIMER = "struct bpf_timer { unsigned long long opaque[2]; } __attribute__((aligned(8)));"


def spec(type_: BpfMapType = BpfMapType.ARRAY, value_size: int = 24, flags: int = 0) -> MapSpec:
    return MapSpec(type=type_, key_size=4, value_size=value_size, max_entries=8, flags=flags, name=b"atlas_plan")


def stored(fd: int, size_bytes: int = 24) -> bytes:
    value = bytearray(size_bytes)
    assert map_lookup(fd, KEY, value)
    return bytes(value)


@pytest.mark.parametrize(
    ("made", "field", "method"),
    [
        pytest.param(spec(), U32, Method.KERNEL_SWAP, id="array"),
        pytest.param(spec(flags=BpfMapFlag.MMAPABLE), U32, Method.KERNEL_SWAP, id="mmapable array"),
        pytest.param(spec(value_size=10), U16, Method.KERNEL_STORE, id="u16 at the end of 10 bytes"),
        pytest.param(spec(value_size=1), Field(offset_bits=0, size_bits=8), Method.KERNEL_STORE, id="value of one byte"),
        pytest.param(spec(), Field(offset_bits=56, size_bits=16), Method.UPDATE, id="across words"),
        pytest.param(spec(value_size=1), Field(offset_bits=2, size_bits=3), Method.UPDATE, id="bit field of one byte"),
        pytest.param(spec(flags=BpfMapFlag.RDONLY_PROG), U32, Method.UPDATE, id="read-only for programs"),
        pytest.param(spec(BpfMapType.HASH, flags=BpfMapFlag.WRONLY_PROG), U32, Method.UPDATE, id="write-only for programs"),
        pytest.param(
            spec(flags=BpfMapFlag.RDONLY_PROG | BpfMapFlag.MMAPABLE), U32, Method.UPDATE, id="mapping refused as well"
        ),
    ],
)  # fmt: skip
def test_each_map_and_field_has_its_way_and_the_way_works(made: MapSpec, field: Field, method: Method) -> None:
    value = VALUE[: made.value_size]
    with live_map(made, [(KEY, value)]) as fd, Editor(fd, target_of(fd), field) as editor:
        assert editor.plan.method is method
        assert editor.plan.why if method is not Method.KERNEL_SWAP else not editor.plan.why
        old = field.read(value)
        stale = editor.run(Edit(key=KEY, number=1, expected=old ^ 1))
        assert (stale.result, stale.method, stale.before) == (Result.CONFLICT, method, old)
        assert stored(fd, made.value_size) == value
        done = editor.run(Edit(key=KEY, number=1, expected=old))
        assert (done.result, done.method, done.before, done.now) == (Result.DONE, method, old, 1)
        after = bytearray(value)
        field.write(after, 1)
        assert stored(fd, made.value_size) == after


@pytest.mark.parametrize("size_bytes", [1, 2, 4, 8])
def test_a_store_through_a_mapping_touches_the_field_alone(size_bytes: int) -> None:
    made = spec(value_size=20, flags=BpfMapFlag.MMAPABLE)
    made = replace(made, max_entries=1000)
    key = (777).to_bytes(4, "little")
    with live_map(made, [(key, VALUE[:20])]) as fd:
        target = target_of(fd)
        field = Field(offset_bits=64, size_bits=size_bytes * 8, byte_order="big")
        with Editor(fd, target, field) as editor:
            editor.plan = plan(target, field, refused="to see the next way")
            assert editor.plan.method is Method.MMAP_STORE
            old = field.read(VALUE)
            assert editor.run(Edit(key=key, number=5, expected=old + 1)).result is Result.CONFLICT
            assert editor.run(Edit(key=key, number=5, expected=old)).result is Result.DONE
            beyond = (1000).to_bytes(4, "little")
            assert editor.run(Edit(key=beyond, number=5, expected=0)).result is Result.NO_ENTRY
        value = bytearray(20)
        assert map_lookup(fd, key, value)
        assert value == VALUE[:8] + (5).to_bytes(size_bytes, "big") + VALUE[8 + size_bytes : 20]
        map_freeze(fd)  # EBUSY if a writable mapping were left


def test_a_value_with_a_lock_is_swapped_under_it_and_updated_under_it_otherwise() -> None:
    with typed_map(SPIN + "struct v { struct bpf_spin_lock lock; unsigned a; unsigned long long b; };") as fd:
        map_update(fd, KEY, bytes(16))
        target = target_of(fd)
        assert target.kept == (Kept("bpf_spin_lock", 0, 4),)
        for field in (Field(offset_bits=32, size_bits=32), Field(offset_bits=80, size_bits=16)):
            with Editor(fd, target, field) as editor:
                assert editor.plan.method is Method.KERNEL_SWAP
                assert "lock is held" in editor.plan.promise
                assert editor.run(Edit(key=KEY, number=7, expected=1)).result is Result.CONFLICT
                assert editor.run(Edit(key=KEY, number=7, expected=0)).result is Result.DONE
                # A lock that was not given back would make this never end.
                assert editor.run(Edit(key=KEY, number=1, operation=Operation.ADD)).now == 8
                editor.plan = plan(target, field, refused="to see the next way")
                assert editor.plan.method is Method.LOCKED_UPDATE
                assert editor.run(Edit(key=KEY, number=9, expected=7)).result is Result.CONFLICT
                assert editor.run(Edit(key=KEY, number=9, expected=8)).result is Result.DONE
        value = bytearray(16)
        assert map_lookup(fd, KEY, value, BpfUpdateFlag.LOCK)
        assert value == bytes(4) + (9).to_bytes(4, "little") + bytes(2) + (9).to_bytes(2, "little") + bytes(4)


@pytest.mark.parametrize(
    ("declared", "kept", "without"),
    [
        ("struct bpf_res_spin_lock { unsigned val; };", "bpf_res_spin_lock", Method.UPDATE),
        ("struct bpf_wq { unsigned long long o[2]; } __attribute__((aligned(8)));", "bpf_wq", Method.REFUSED),
    ],
)
@pytest.mark.parametrize("type_", [BpfMapType.HASH, BpfMapType.ARRAY])
def test_other_things_of_the_kernels_are_swapped_beside(
    declared: str, kept: str, without: Method, type_: BpfMapType
) -> None:
    with typed_map(f"{declared} struct v {{ struct {kept} it; unsigned a; unsigned b; }};", type_) as fd:
        target = target_of(fd)
        map_update(fd, KEY, bytes(target.facts.value_size))
        field = Field(offset_bits=target.facts.value_size * 8 - 48, size_bits=16)
        with Editor(fd, target, field) as editor:
            assert editor.plan.method is Method.KERNEL_SWAP
            assert editor.run(Edit(key=KEY, number=3, expected=0)).result is Result.DONE
        assert plan(target, field, refused="to see the next way").method is without


def test_a_value_with_a_timer_takes_a_swap_or_nothing() -> None:
    with typed_map(TIMER + "struct v { struct bpf_timer t; unsigned long long b; };") as fd:
        map_update(fd, KEY, bytes(24))
        target = target_of(fd)
        assert target.kept == (Kept("bpf_timer", 0, 16),)
        field = Field(offset_bits=19 * 8, size_bits=16)
        assert run(fd, target, field, Edit(key=KEY, number=3, expected=0)).method is Method.KERNEL_SWAP
        inside = run(fd, target, Field(offset_bits=64, size_bits=32), Edit(key=KEY, number=3, expected=0))
        assert inside.result is Result.REFUSED
        assert "is the kernel's own" in plan(target, Field(offset_bits=64, size_bits=32)).why
        without = plan(target, field, refused="to see the next way")
        assert (without.method, "would destroy bpf_timer" in without.why) == (Method.REFUSED, True)


def test_a_word_never_holds_anything_of_the_kernels() -> None:
    kept = (Kept("bpf_res_spin_lock", 0, 4),)
    with live_map(spec(BpfMapType.HASH)) as fd:
        target = Target(target_of(fd).facts, kept)
    assert plan(target, Field(offset_bits=40, size_bits=16)).word is not None
    found = plan(target, Field(offset_bits=40, size_bits=16)).word
    assert found is not None
    assert (found.offset_bytes, found.size_bytes) == (4, 4)
    three = Field(offset_bits=24, size_bits=16)
    assert plan(target, three).method is Method.REFUSED


def test_a_frozen_map_is_refused_though_a_program_could_write_it() -> None:
    with live_map(spec(), [(KEY, VALUE)]) as fd:
        shown = target_of(fd)
        with Editor(fd, shown, U32) as editor:
            map_freeze(fd)
            assert editor.run(Edit(key=KEY, number=1, expected=U32.read(VALUE))).result is Result.REFUSED
        assert plan(target_of(fd), U32).method is Method.REFUSED
        assert "frozen" in plan(target_of(fd), U32).why
        assert stored(fd) == VALUE


@pytest.mark.parametrize(
    "made",
    [
        MapSpec(type=BpfMapType.PROG_ARRAY, key_size=4, value_size=4, max_entries=4),
        MapSpec(type=BpfMapType.DEVMAP, key_size=4, value_size=4, max_entries=4),
        MapSpec(type=BpfMapType.QUEUE, key_size=0, value_size=4, max_entries=4),
        MapSpec(type=BpfMapType.STACK_TRACE, key_size=4, value_size=8, max_entries=4),
        MapSpec(type=BpfMapType.BLOOM_FILTER, key_size=0, value_size=4, max_entries=4),
    ],
    ids=lambda made: made.type.name,
)
def test_values_that_are_not_bytes_under_a_key_are_refused(made: MapSpec) -> None:
    with live_map(made) as fd:
        assert plan(target_of(fd), Field(offset_bits=0, size_bits=8)).method is Method.REFUSED


def test_a_whole_value_that_moved_since_it_was_shown_is_not_written_back() -> None:
    field = Field(offset_bits=56, size_bits=16)
    with live_map(spec(), [(KEY, VALUE)]) as fd, Editor(fd, target_of(fd), field) as editor:
        assert editor.plan.method is Method.UPDATE
        shown = b"\xff" + VALUE[1:]
        edit = Edit(key=KEY, number=1, expected=field.read(VALUE), seen=shown)
        assert editor.run(edit).result is Result.CONFLICT
        assert editor.run(replace(edit, seen=VALUE)).result is Result.DONE


def test_all_cpus_by_one_update() -> None:
    whole = bytes(range(16)) * possible_cpus()
    field = Field(offset_bits=56, size_bits=16)
    with live_map(spec(BpfMapType.PERCPU_HASH, 16), [(KEY, whole)]) as fd, Editor(fd, target_of(fd), field) as editor:
        assert editor.plan.method is Method.UPDATE
        edit = Edit(key=KEY, number=3, expected=0)
        outcomes = editor.run_on_all(edit, [field.read(whole)] * possible_cpus())
        assert [outcome.result for outcome in outcomes] == [Result.DONE] * possible_cpus()
        after = bytearray(16)
        after[:] = whole[:16]
        field.write(after, 3)
        assert stored(fd, len(whole)) == bytes(after) * possible_cpus()


def test_storage_of_a_task_is_updated_whole() -> None:
    with typed_map(
        "struct v { unsigned a, b; };", BpfMapType.TASK_STORAGE, max_entries=0, flags=BpfMapFlag.NO_PREALLOC
    ) as fd:
        pidfd = os.pidfd_open(os.getpid())
        try:
            key = pidfd.to_bytes(4, "little")
            edit = Edit(key=key, number=2, expected=1)
            field = Field(offset_bits=32, size_bits=32)
            assert run(fd, target_of(fd), field, edit).result is Result.NO_ENTRY
            map_update(fd, key, (5).to_bytes(4, "little") + (1).to_bytes(4, "little"))
            outcome = run(fd, target_of(fd), field, edit)
            assert (outcome.result, outcome.method) == (Result.DONE, Method.UPDATE)
            assert outcome.value == (5).to_bytes(4, "little") + (2).to_bytes(4, "little")
        finally:
            os.close(pidfd)


def test_kept_parts_are_found_in_structs_and_arrays_of_any_depth() -> None:
    btf = compile_btf(
        TIMER
        + SPIN
        + """
        struct task_struct;
        struct inner { int x; struct bpf_timer t; };
        struct v {
            struct bpf_spin_lock lock; unsigned bits : 3;
            struct inner both[2];
            struct task_struct __attribute__((btf_type_tag("kptr"))) *held;
            struct { int plain[1000000]; } much;
        };
        int f(struct v *p) { return 0; }
        """
    )
    (value,) = btf.find("v", Kind.STRUCT)
    assert kept_parts(btf, value) == (
        Kept("bpf_spin_lock", 0, 4),
        Kept("bpf_timer", 16, 16),
        Kept("bpf_timer", 40, 16),
        Kept("kptr", 56, 8),
    )


def test_no_descriptor_is_left_behind() -> None:
    with live_map(spec(), [(KEY, VALUE)]) as fd, live_map(spec(flags=BpfMapFlag.RDONLY_PROG), [(KEY, VALUE)]) as other:
        before = len(os.listdir("/proc/self/fd"))
        for each in (fd, other):
            target = target_of(each)
            for number in range(20):
                run(each, target, U64, Edit(key=KEY, number=number, operation=Operation.EXCHANGE))
        with typed_map("struct v { unsigned a, b; };") as typed:
            target_of(typed)
        assert len(os.listdir("/proc/self/fd")) == before
