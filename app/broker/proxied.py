"""Answers that read on behalf of a process which may not use a passed descriptor: one look-up, one key, one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from app.broker.host import Host, Reply, with_fd
from app.uapi import objects
from app.uapi.enums import BpfMapFlag, BpfMapType
from app.uapi.kernel import DescriptorReader
from app.uapi.objects import MapInfo
from app.uapi.syscall import BatchOutcome
from app.wire import bodies
from app.wire.errors import LimitExceeded, WrongMapType

BATCH_ENTRIES = 65_536
BATCH_BYTES = 64 << 20

_KEYED_BY_DESCRIPTOR = frozenset(
    {BpfMapType.SK_STORAGE, BpfMapType.INODE_STORAGE, BpfMapType.TASK_STORAGE, BpfMapType.CGRP_STORAGE}
)

_Result = TypeVar("_Result")


def answer_lookup(_: Host, question: bodies.AskLookup) -> Reply:
    """BPF_MAP_LOOKUP_ELEM."""

    def look(reader: DescriptorReader, info: MapInfo) -> bodies.Found:
        if info.type in _KEYED_BY_DESCRIPTOR:
            raise WrongMapType(
                "the keys of this map are descriptors of the asking process: ask for its storage instead"
            )
        _check_key(info, question.key)
        value = bytearray(reader.value_stride)
        value[: len(question.value)] = question.value[: len(value)]
        return bodies.Found(bytes(value) if reader.lookup(question.key or None, value) else None)

    return Reply(_reading(question.map_id, look))


def answer_next_key(_: Host, question: bodies.AskNextKey) -> Reply:
    """BPF_MAP_GET_NEXT_KEY."""

    def step(reader: DescriptorReader, info: MapInfo) -> bodies.NextKey:
        if question.key is not None:
            _check_key(info, question.key)
        out = bytearray(info.key_size)
        return bodies.NextKey(bytes(out) if reader.next_key(question.key, out) else None)

    return Reply(_reading(question.map_id, step))


def answer_batch(_: Host, question: bodies.AskBatch) -> Reply:
    """BPF_MAP_LOOKUP_BATCH, of fewer entries than asked for where they would be too many for one answer."""

    def batch(reader: DescriptorReader, info: MapInfo) -> bodies.Batch:
        entry_bytes = info.key_size + reader.value_stride
        if not entry_bytes:
            raise WrongMapType("this map has no entries that a batch could bring")
        limit = max(1, min(BATCH_ENTRIES, BATCH_BYTES // entry_bytes))
        count = min(question.count, limit)
        if count < 1:
            raise LimitExceeded("a batch of at least one entry was wanted")
        token_bytes = max(4, info.key_size)
        if question.token is not None and len(question.token) != token_bytes:
            raise LimitExceeded(f"a token of {token_bytes} bytes was wanted, {len(question.token)} came")
        token = bytearray(token_bytes)
        keys = bytearray(count * info.key_size)
        values = bytearray(count * reader.value_stride)
        result = reader.lookup_batch(question.token, token, memoryview(keys), memoryview(values), count)
        if result.outcome is BatchOutcome.GROW and count == limit:
            raise LimitExceeded(f"one bucket of this map holds more than the {limit} entries that one answer brings")
        return bodies.Batch(
            count=result.count,
            keys=bytes(memoryview(keys)[: result.count * info.key_size]),
            values=bytes(memoryview(values)[: result.count * reader.value_stride]),
            token=None if result.outcome is BatchOutcome.END else bytes(token),
            grow=result.outcome is BatchOutcome.GROW,
        )

    return Reply(_reading(question.map_id, batch))


def _reading(map_id: int, use: Callable[[DescriptorReader, MapInfo], _Result]) -> _Result:
    def read(map_fd: int) -> _Result:
        info = objects.map_info(map_fd)
        reader = DescriptorReader(map_fd, map_type=info.type, key_size=info.key_size, value_size=info.value_size)
        return use(reader, info)

    return with_fd(objects.map_get_fd_by_id(map_id, BpfMapFlag.RDONLY), read)


def _check_key(info: MapInfo, key: bytes) -> None:
    if len(key) != info.key_size:
        raise LimitExceeded(f"a key of {info.key_size} bytes was wanted, {len(key)} came")
