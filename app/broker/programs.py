"""The iterator programs: what they walk over, and the records that they write. They have no maps and change nothing.

source  include/linux/bpf.h, DEFINE_BPF_ITER_FUNC; a context is a struct of 8-byte slots, ``meta`` first, whose first
        member is the seq_file to write to. The verifier checks each of these offsets against the kernel's own BTF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from app.broker import assembly as a
from app.broker.vmlinux import Vmlinux

COUNT = struct.Struct("=IIQ")
"""Of `element_counts`: map id, nothing, number of elements."""
HOLDER = struct.Struct("=IIII16s")
"""Of `holders`: pid, descriptor, index of the kind in KINDS, object id, comm."""
OWN_FILE = struct.Struct("=QQ")
"""Of `own_files`: descriptor, address of the file's show_fdinfo."""
OPEN_FILE = struct.Struct("=III")
"""Of `open_files`, before the path: pid, descriptor, bytes of path with its final NUL."""
SOCKET = struct.Struct("=QHHHHI4s4s16s16s")
"""Of `socket_values`, before the value: cookie, family, own port, other port (network order), protocol, bytes of value,
IPv4 addresses own and other, IPv6 the same."""

KINDS = ("map", "prog", "link", "btf")
PATH_BYTES = 384
"""Longest path that fits the program's stack."""
_CHUNK_BYTES = 256
VALUE_BYTES = 64 * 1024
"""Longest value that `socket_values` copies, which is the kernel's own limit for socket storage."""

_META, _SECOND, _THIRD, _FOURTH = 0, 8, 16, 24
_SEQ = 0


@dataclass(frozen=True, slots=True)
class IteratorProgram:
    """One program: the iterator's name as in ``bpf_iter_NAME``, a name for listings, and its instructions."""

    target: str
    name: bytes
    insns: bytes


def _write(p: a.Assembly, offset: int, size_bytes: int) -> None:
    """bpf_seq_write from the stack; R6 is the context."""
    p.load(a.U64, a.R1, a.R6, _META)
    p.load(a.U64, a.R1, a.R1, _SEQ)
    p.move(a.R2, a.R10)
    p.add(a.R2, offset)
    p.number(a.R3, size_bytes)
    p.call(a.SEQ_WRITE)


def _end(p: a.Assembly) -> bytes:
    p.label("end")
    p.number(a.R0, 0)
    p.exit()
    return p.code()


def element_counts(kernel: Vmlinux, sum_elem_count: int) -> IteratorProgram:
    """COUNT for each map, by the kfunc bpf_map_sum_elem_count (v6.6); 0 for types that keep no counter."""
    p = a.Assembly()
    p.move(a.R6, a.R1)
    p.load(a.U64, a.R7, a.R6, _SECOND)  # map
    p.jump(a.EQ, a.R7, 0, "end")
    p.move(a.R1, a.R7)
    p.call_kernel(sum_elem_count)
    p.store(a.U64, a.R10, -8, a.R0)
    p.load(a.U32, a.R1, a.R7, kernel.offset_bytes("bpf_map", "id"))
    p.store(a.U64, a.R10, -16, a.R1)
    _write(p, -16, COUNT.size)
    return IteratorProgram("bpf_map", b"atlas_counts", _end(p))


def _of_each_file() -> a.Assembly:
    """The start of an iter/task_file program: context in R6, file in R7, task in R8; over at once where one is missing."""
    p = a.Assembly()
    p.move(a.R6, a.R1)
    p.load(a.U64, a.R8, a.R6, _SECOND)  # task
    p.jump(a.EQ, a.R8, 0, "end")
    p.load(a.U64, a.R7, a.R6, _FOURTH)  # file
    p.jump(a.EQ, a.R7, 0, "end")
    return p


def own_files(kernel: Vmlinux) -> IteratorProgram:
    """OWN_FILE for each descriptor of the process that reads: how the addresses behind `holders` are learnt."""
    p = _of_each_file()
    p.call(a.GET_CURRENT_PID_TGID)
    p.shift_right(a.R0, 32)
    p.load(a.U32, a.R1, a.R8, kernel.offset_bytes("task_struct", "tgid"))
    p.jump_registers(a.NE, a.R0, a.R1, "end")
    p.load(a.U32, a.R1, a.R6, _THIRD)  # fd
    p.store(a.U64, a.R10, -16, a.R1)
    p.load(a.U64, a.R1, a.R7, kernel.offset_bytes("file", "f_op"))
    p.load(a.U64, a.R1, a.R1, kernel.offset_bytes("file_operations", "show_fdinfo"))
    p.store(a.U64, a.R10, -8, a.R1)
    _write(p, -16, OWN_FILE.size)
    return IteratorProgram("task_file", b"atlas_own_files", _end(p))


def holders(kernel: Vmlinux, show_fdinfo: tuple[int, int, int, int]) -> IteratorProgram:
    """HOLDER for each descriptor of each process that is one of KINDS, told by the address of its show_fdinfo.

    Not by f_op: links have two of those, with and without poll, and one show_fdinfo.
    """
    offset = kernel.offset_bytes
    p = _of_each_file()
    p.load(a.U64, a.R9, a.R7, offset("file", "private_data"))
    p.load(a.U64, a.R1, a.R7, offset("file", "f_op"))
    p.load(a.U64, a.R1, a.R1, offset("file_operations", "show_fdinfo"))
    for index, address in enumerate(show_fdinfo):
        p.wide(a.R2, address)
        p.jump_registers(a.EQ, a.R1, a.R2, KINDS[index])
    p.go("end")
    for index, (kind, id_offset) in enumerate(
        (
            ("map", offset("bpf_map", "id")),
            ("prog", offset("bpf_prog_aux", "id")),
            ("link", offset("bpf_link", "id")),
            ("btf", offset("btf", "id")),
        )
    ):
        p.label(kind)
        if kind == "prog":  # the id is in prog->aux
            p.move(a.R1, a.R10)
            p.add(a.R1, -40)
            p.number(a.R2, 8)
            p.move(a.R3, a.R9)
            p.add(a.R3, offset("bpf_prog", "aux"))
            p.call(a.PROBE_READ_KERNEL)
            p.load(a.U64, a.R9, a.R10, -40)
        p.store_number(a.U32, a.R10, -24, index)
        p.add(a.R9, id_offset)
        p.go("emit")
    p.label("emit")
    p.move(a.R1, a.R10)
    p.add(a.R1, -20)
    p.number(a.R2, 4)
    p.move(a.R3, a.R9)
    p.call(a.PROBE_READ_KERNEL)
    p.load(a.U32, a.R1, a.R8, offset("task_struct", "tgid"))
    p.store(a.U32, a.R10, -32, a.R1)
    p.load(a.U32, a.R1, a.R6, _THIRD)  # fd
    p.store(a.U32, a.R10, -28, a.R1)
    p.load(a.U64, a.R1, a.R8, offset("task_struct", "group_leader"))
    comm = offset("task_struct", "comm")
    p.load(a.U64, a.R2, a.R1, comm)
    p.store(a.U64, a.R10, -16, a.R2)
    p.load(a.U64, a.R2, a.R1, comm + 8)
    p.store(a.U64, a.R10, -8, a.R2)
    _write(p, -32, HOLDER.size)
    return IteratorProgram("task_file", b"atlas_holders", _end(p))


def open_files(kernel: Vmlinux) -> IteratorProgram:
    """OPEN_FILE and the path for each open file that has an inode worth a storage element: regular, or a directory."""
    offset = kernel.offset_bytes
    path_at = -(PATH_BYTES + 16)
    p = _of_each_file()
    p.load(a.U64, a.R1, a.R7, offset("file", "f_inode"))
    p.load(a.U16, a.R1, a.R1, offset("inode", "i_mode"))
    p.mask(a.R1, 0o170000)
    p.jump(a.EQ, a.R1, 0o100000, "wanted")
    p.jump(a.NE, a.R1, 0o040000, "end")
    p.label("wanted")
    p.move(a.R1, a.R7)
    p.add(a.R1, offset("file", "f_path"))
    p.move(a.R2, a.R10)
    p.add(a.R2, path_at)
    p.number(a.R3, PATH_BYTES)
    p.call(a.D_PATH)
    p.jump(a.SLE, a.R0, 0, "too long")
    p.jump(a.GT, a.R0, PATH_BYTES, "too long")
    p.go("emit")
    p.label("too long")
    p.number(a.R0, 1)
    p.store_number(a.U64, a.R10, path_at, 0)
    p.label("emit")
    p.move(a.R9, a.R0)
    p.load(a.U32, a.R1, a.R8, offset("task_struct", "tgid"))
    p.store(a.U32, a.R10, -16, a.R1)
    p.load(a.U32, a.R1, a.R6, _THIRD)  # fd
    p.store(a.U32, a.R10, -12, a.R1)
    p.store(a.U32, a.R10, -8, a.R9)
    _write(p, -16, OPEN_FILE.size)
    p.load(a.U64, a.R1, a.R6, _META)
    p.load(a.U64, a.R1, a.R1, _SEQ)
    p.move(a.R2, a.R10)
    p.add(a.R2, path_at)
    p.move(a.R3, a.R9)
    p.call(a.SEQ_WRITE)
    return IteratorProgram("task_file", b"atlas_files", _end(p))


def socket_values(kernel: Vmlinux) -> IteratorProgram:
    """SOCKET and the value for each socket that has an element in the map that the link names.

    The value is copied through the stack by bpf_probe_read_kernel: writing it out directly would fix its size when the
    program is loaded, and the broker loads no programs once it is confined.
    """
    offset = kernel.offset_bytes
    head = -(SOCKET.size + -SOCKET.size % 8)
    chunk = head - _CHUNK_BYTES
    p = a.Assembly()
    p.move(a.R6, a.R1)
    p.load(a.U64, a.R7, a.R6, _THIRD)  # sk
    p.jump(a.EQ, a.R7, 0, "end")
    p.load(a.U64, a.R8, a.R6, _FOURTH)  # value
    p.jump(a.EQ, a.R8, 0, "end")
    p.load(a.U64, a.R9, a.R6, _SECOND)  # map
    p.jump(a.EQ, a.R9, 0, "end")
    p.load(a.U32, a.R9, a.R9, offset("bpf_map", "value_size"))
    p.store_number(a.U64, a.R10, -8, 0)  # covers the padding
    p.move(a.R1, a.R7)
    p.call(a.GET_SOCKET_COOKIE)
    p.store(a.U64, a.R10, head, a.R0)
    fields = (
        (a.U16, 8, ("sock_common", "skc_family")),
        (a.U16, 10, ("sock_common", "skc_num")),
        (a.U16, 12, ("sock_common", "skc_dport")),
        (a.U16, 14, ("sock", "sk_protocol")),
    )
    for size, at, (struct_name, member) in fields:
        p.load(size, a.R1, a.R7, offset(struct_name, member))
        p.store(size, a.R10, head + at, a.R1)
    p.store(a.U32, a.R10, head + 16, a.R9)
    copies = ((20, 4, "skc_rcv_saddr"), (24, 4, "skc_daddr"), (28, 16, "skc_v6_rcv_saddr"), (44, 16, "skc_v6_daddr"))
    for at, size_bytes, member in copies:
        p.move(a.R1, a.R10)
        p.add(a.R1, head + at)
        p.number(a.R2, size_bytes)
        p.move(a.R3, a.R7)
        p.add(a.R3, offset("sock_common", member))
        p.call(a.PROBE_READ_KERNEL)
    _write(p, head, SOCKET.size)
    p.jump(a.GT, a.R9, VALUE_BYTES, "end")
    # Whole chunks first, then the rest: so each turn of the loop moves by a constant, which the verifier can follow.
    p.label("next")
    p.jump(a.LT, a.R9, _CHUNK_BYTES, "rest")
    p.number(a.R7, _CHUNK_BYTES)
    _copy_chunk(p, chunk)
    p.add(a.R8, _CHUNK_BYTES)
    p.add(a.R9, -_CHUNK_BYTES)
    p.go("next")
    p.label("rest")
    p.jump(a.EQ, a.R9, 0, "end")
    p.move(a.R7, a.R9)
    _copy_chunk(p, chunk)
    return IteratorProgram("bpf_sk_storage_map", b"atlas_sockets", _end(p))


def _copy_chunk(p: a.Assembly, chunk: int) -> None:
    """R7 bytes from the address in R8, through the stack, to the output; R6 is the context."""
    p.move(a.R1, a.R10)
    p.add(a.R1, chunk)
    p.move(a.R2, a.R7)
    p.move(a.R3, a.R8)
    p.call(a.PROBE_READ_KERNEL)
    p.load(a.U64, a.R1, a.R6, _META)
    p.load(a.U64, a.R1, a.R1, _SEQ)
    p.move(a.R2, a.R10)
    p.add(a.R2, chunk)
    p.move(a.R3, a.R7)
    p.call(a.SEQ_WRITE)
