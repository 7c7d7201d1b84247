"""Real BTF with bytes changed, and bytes that never were BTF: BtfError and nothing else, within bounded time."""

from __future__ import annotations

import random
import struct
from time import perf_counter, process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.btf.errors import BtfError
from app.btf.header import MAGIC
from app.btf.parse import parse
from tests.btfs import compile_blob, survive

SOURCE = """
struct bpf_timer { unsigned long long o[2]; } __attribute__((aligned(8)));
struct node { struct node *next; int depth:5, width:11; union { char c[8]; struct { short lo, hi; }; }; };
enum mood { HAPPY = 1, SAD = -7 };
typedef int (*visit)(struct node *, enum mood, ...);
struct __attribute__((packed)) tight { char a; long long b; __int128 c; double d; };
struct value { struct bpf_timer timer; struct node nodes[4]; visit visit; struct tight tight; enum mood mood; int flex[]; };
struct value *values; struct tight tight __attribute__((btf_decl_tag("tagged"))); int table[3][4];
int run(struct value *value) { return value->mood; }
"""


def _mutate(blob: bytes, chance: random.Random) -> bytes:
    out = bytearray(blob)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(out))
        match chance.randrange(6):
            case 0:
                out[at] = chance.randrange(256)
            case 1:
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                at &= ~3
                out[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 2, 7, 0x7FFFFFFF, 0xFFFFFFFF, at)))
            case 3:
                out[at : at + 4] = struct.pack("<I", chance.randrange(40))
            case 4:
                other = chance.randrange(len(out)) & ~3
                out[at & ~3 : (at & ~3) + 12] = out[other : other + 12]
            case 5:
                del out[at : at + chance.choice((1, 4, 12))]
        if not out:
            break
    return bytes(out)


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
def test_mutations_of_real_btf_only_ever_raise_btf_error(target: str) -> None:
    blob = compile_blob(SOURCE, target=target)
    chance = random.Random(f"btf {target}")
    end = perf_counter() + 6
    tried = parsed = 0
    while tried <= 200 or (perf_counter() < end and tried < 5000):
        tried += 1
        mutated = _mutate(blob, chance)
        start = process_time()
        try:
            btf = parse(mutated)
        except BtfError:
            continue
        parsed += 1
        for type_id in chance.sample(range(len(btf)), min(len(btf), 6)):
            survive(btf, type_id)
        assert process_time() - start < 20, mutated.hex()
    assert tried > 200
    assert parsed > tried // 10


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_a_good_header_only_raise_btf_error(body: bytes) -> None:
    size = len(body) & ~3
    blob = struct.pack("<HBBIIIII", MAGIC, 1, 0, 24, 0, size, size, 3) + body[:size] + b"\0a\0"
    try:
        btf = parse(blob)
    except BtfError:
        return
    for type_id in btf:
        survive(btf, type_id)
