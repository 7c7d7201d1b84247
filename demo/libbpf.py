"""libbpf, through cffi: open, load, attach, fill. Integers, bytes and paths in and out; links and objects close themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cffi import FFI

from app.uapi.enums import BpfMapType
from demo._prototypes import CDEF
from demo.errors import LibraryMissing, ObjectMissing, Refused
from demo.names import OBJECTS

KIND_TYPEDEF, KIND_DATASEC = 8, 15
POP_ROOM = 4096
"""At least the value size of every queue and stack of the demo."""
TC_INGRESS, TC_EGRESS = 1, 2

ffi: Any = FFI()
ffi.cdef(CDEF)
try:
    lib: Any = ffi.dlopen("libbpf.so.1")
except OSError as error:
    raise LibraryMissing from error
# Its default prints the verifier's log on stderr; what was refused, and why, is told by Refused.
if "BPF_ATLAS_DEMO_DEBUG" not in os.environ:
    lib.libbpf_set_print(ffi.NULL)


def _checked(result: int, what: str) -> int:
    """Return `result`, unless it is an error.

    raises  Refused with libbpf's errno
    """
    if result < 0:
        raise Refused(what, result)
    return result


def _pointer(pointer: Any, what: str) -> Any:
    if pointer == ffi.NULL:
        raise Refused(what, ffi.errno)
    return pointer


def object_path(name: str) -> Path:
    """Where the compiled program `name` is.

    raises  ObjectMissing
    """
    for folder in OBJECTS:
        path = folder / f"{name}.bpf.o"
        if path.exists():
            return path
    raise ObjectMissing(name)


class Link:
    """An attachment; it ends with `close`, or with this process."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer

    def close(self) -> None:
        if self._pointer is not None:
            lib.bpf_link__destroy(self._pointer)
            self._pointer = None


class Program:
    """One loaded program."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self.name: str = ffi.string(lib.bpf_program__name(pointer)).decode()

    @property
    def fd(self) -> int:
        return int(lib.bpf_program__fd(self._pointer))

    def attach(self) -> Link:
        """Attach where the program's section says: a tracepoint, an LSM hook."""
        return Link(_pointer(lib.bpf_program__attach(self._pointer), f"attach {self.name}"))

    def attach_cgroup(self, cgroup_fd: int) -> Link:
        return Link(_pointer(lib.bpf_program__attach_cgroup(self._pointer, cgroup_fd), f"attach {self.name}"))

    def attach_xdp(self, ifindex: int) -> Link:
        """`ifindex` is looked up in the calling thread's network namespace."""
        return Link(_pointer(lib.bpf_program__attach_xdp(self._pointer, ifindex), f"attach {self.name}"))

    def attach_tc(self, ifindex: int, direction: int) -> None:
        """Add to the device's clsact qdisc (made when missing); both go with the device."""
        hook = ffi.new("struct bpf_tc_hook *", {"ifindex": ifindex, "attach_point": TC_INGRESS | TC_EGRESS})
        hook.sz = ffi.sizeof("struct bpf_tc_hook")
        made = lib.bpf_tc_hook_create(hook)
        if made < 0 and made != -17:  # EEXIST: another program of ours was first
            raise Refused("create the clsact qdisc", made)
        hook.attach_point = direction
        opts = ffi.new("struct bpf_tc_opts *", {"prog_fd": self.fd})
        opts.sz = ffi.sizeof("struct bpf_tc_opts")
        _checked(lib.bpf_tc_attach(hook, opts), f"attach {self.name}")

    def attach_map(self, map_fd: int, attach_type: int) -> None:
        """Attach to a socket map; goes with the map."""
        _checked(lib.bpf_prog_attach(self.fd, map_fd, attach_type, 0), f"attach {self.name}")

    def run(self, *, data: bytes = b"", context: bytes = b"") -> int:
        """BPF_PROG_TEST_RUN once; returns the program's result."""
        opts = ffi.new("struct bpf_test_run_opts *", {"sz": ffi.sizeof("struct bpf_test_run_opts")})
        room = ffi.from_buffer(data) if data else ffi.NULL
        ctx = ffi.from_buffer(context) if context else ffi.NULL
        opts.data_in, opts.data_size_in = room, len(data)
        opts.ctx_in, opts.ctx_size_in = ctx, len(context)
        _checked(lib.bpf_prog_test_run_opts(self.fd, opts), f"run {self.name}")
        return int(opts.retval)


class Map:
    """One map of a loaded object, or one made by `create_map`."""

    def __init__(self, name: str, fd: int, kind: int) -> None:
        self.name, self.fd, self.kind = name, fd, kind

    def update(self, key: bytes | None, value: bytes, flags: int = 0) -> None:
        where = ffi.NULL if key is None else ffi.from_buffer(key)
        _checked(lib.bpf_map_update_elem(self.fd, where, ffi.from_buffer(value), flags), f"update {self.name}")

    def lookup(self, key: bytes, size_bytes: int) -> bytes | None:
        """Return the value of `key` (`size_bytes` = all CPUs' together for a per-CPU map), None if there is none."""
        value = ffi.new("char[]", size_bytes)
        if lib.bpf_map_lookup_elem(self.fd, ffi.from_buffer(key), value) < 0:
            return None
        return bytes(ffi.buffer(value, size_bytes))

    def delete(self, key: bytes) -> None:
        _checked(lib.bpf_map_delete_elem(self.fd, ffi.from_buffer(key)), f"delete from {self.name}")

    def pop(self) -> None:
        """Take one element off a queue or stack; nothing happens on an empty one."""
        lib.bpf_map_lookup_and_delete_elem(self.fd, ffi.NULL, ffi.new("char[]", POP_ROOM))

    def close(self) -> None:
        """Only for what `create_map` or `open_pin` gave: an object closes its own."""
        os.close(self.fd)

    def pin(self, path: Path) -> None:
        _checked(lib.bpf_obj_pin(self.fd, str(path).encode()), f"pin {self.name} at {path}")


class Object:
    """A compiled file: opened, changed (`reuse`, `set_global`), loaded, closed."""

    def __init__(self, name: str) -> None:
        path = object_path(name)
        self.name = name
        self._pointer = _pointer(lib.bpf_object__open_file(str(path).encode(), ffi.NULL), f"open {path}")

    def load(self) -> None:
        _checked(lib.bpf_object__load(self._pointer), f"load {self.name}")

    def close(self) -> None:
        if self._pointer is not None:
            lib.bpf_object__close(self._pointer)
            self._pointer = None

    def skip(self, program: str) -> None:
        """Before `load`: leave `program` out."""
        found = lib.bpf_object__find_program_by_name(self._pointer, program.encode())
        _checked(lib.bpf_program__set_autoload(_pointer(found, f"find program {program}"), 0), f"skip {program}")

    def program(self, name: str) -> Program:
        found = lib.bpf_object__find_program_by_name(self._pointer, name.encode())
        return Program(_pointer(found, f"find program {name}"))

    def programs(self) -> Iterator[Program]:
        """Those that are loaded."""
        pointer = lib.bpf_object__next_program(self._pointer, ffi.NULL)
        while pointer != ffi.NULL:
            if lib.bpf_program__fd(pointer) >= 0:
                yield Program(pointer)
            pointer = lib.bpf_object__next_program(self._pointer, pointer)

    def map(self, name: str) -> Map:
        pointer = self._map_pointer(name)
        return Map(name, lib.bpf_map__fd(pointer), lib.bpf_map__type(pointer))

    def maps(self) -> Iterator[Map]:
        pointer = lib.bpf_object__next_map(self._pointer, ffi.NULL)
        while pointer != ffi.NULL:
            name = ffi.string(lib.bpf_map__name(pointer)).decode()
            yield Map(name, lib.bpf_map__fd(pointer), lib.bpf_map__type(pointer))
            pointer = lib.bpf_object__next_map(self._pointer, pointer)

    def reuse(self, name: str, shared: Map) -> None:
        """Before `load`: let the object's map `name` be `shared`."""
        _checked(lib.bpf_map__reuse_fd(self._map_pointer(name), shared.fd), f"share map {name}")

    def set_global(self, section: str, variable: str, value: bytes) -> None:
        """Before `load`: give a global variable of `section` (".rodata", ".data") another first value."""
        size = ffi.new("size_t *")
        pointer = lib.bpf_object__next_map(self._pointer, ffi.NULL)
        while not ffi.string(lib.bpf_map__name(pointer)).decode().endswith(section):
            pointer = lib.bpf_object__next_map(self._pointer, _pointer(pointer, f"find {section}"))
        first = lib.bpf_map__initial_value(pointer, size)
        room = ffi.buffer(_pointer(first, f"find the first value of {section}"), size[0])
        offset_bytes = self._offset_of(section, variable)
        room[offset_bytes : offset_bytes + len(value)] = value

    def attach_struct_ops(self, name: str) -> Link:
        return Link(_pointer(lib.bpf_map__attach_struct_ops(self._map_pointer(name)), f"register {name}"))

    @property
    def btf_fd(self) -> int:
        return int(lib.bpf_object__btf_fd(self._pointer))

    def typedef_id(self, name: str) -> int:
        """Return the type id of a typedef in the object's BTF."""
        btf = lib.bpf_object__btf(self._pointer)
        return _checked(lib.btf__find_by_name_kind(btf, name.encode(), KIND_TYPEDEF), f"find type {name}")

    def _map_pointer(self, name: str) -> Any:
        return _pointer(lib.bpf_object__find_map_by_name(self._pointer, name.encode()), f"find map {name}")

    def _offset_of(self, section: str, variable: str) -> int:
        btf = lib.bpf_object__btf(self._pointer)
        datasec = lib.btf__type_by_id(btf, lib.btf__find_by_name_kind(btf, section.encode(), KIND_DATASEC))
        entries = ffi.cast("struct btf_var_secinfo *", datasec + 1)
        for index in range(datasec.info & 0xFFFF):
            name = lib.btf__name_by_offset(btf, lib.btf__type_by_id(btf, entries[index].type).name_off)
            if ffi.string(name).decode() == variable:
                return int(entries[index].offset)
        raise Refused(f"find {variable} in {section} of {self.name}", 2)


def create_map(kind: int, name: str, *, key_size: int, value_size: int, max_entries: int, **options: int) -> Map:
    """BPF_MAP_CREATE, for what no object file can declare. `options`: fields of ``struct bpf_map_create_opts``."""
    opts = ffi.new("struct bpf_map_create_opts *", {"sz": ffi.sizeof("struct bpf_map_create_opts"), **options})
    fd = lib.bpf_map_create(kind, name.encode(), key_size, value_size, max_entries, opts)
    return Map(name, _checked(fd, f"create map {name}"), kind)


def open_pin(path: Path) -> Map:
    return Map(path.name, _checked(lib.bpf_obj_get(str(path).encode()), f"open {path}"), 0)


class Ring:
    """Reader of a ring buffer; `consume` takes what is there and returns how many records that were."""

    def __init__(self, ring: Map, sample: Callable[[bytes], None]) -> None:
        def take(_context: Any, data: Any, size: int) -> int:
            sample(bytes(ffi.buffer(data, size)))
            return 0

        self._take = ffi.callback("ring_sample", take)  # C holds it, so Python must
        self._pointer = _pointer(lib.ring_buffer__new(ring.fd, self._take, ffi.NULL, ffi.NULL), f"read {ring.name}")

    def consume(self) -> int:
        return int(lib.ring_buffer__consume(self._pointer))

    def close(self) -> None:
        lib.ring_buffer__free(self._pointer)


class UserRing:
    """Writer of a user ring buffer."""

    def __init__(self, ring: Map) -> None:
        self._pointer = _pointer(lib.user_ring_buffer__new(ring.fd, ffi.NULL), f"write {ring.name}")

    def submit(self, record: bytes) -> bool:
        """Write one record; False when there is no room."""
        room = lib.user_ring_buffer__reserve(self._pointer, len(record))
        if room == ffi.NULL:
            return False
        ffi.memmove(room, record, len(record))
        lib.user_ring_buffer__submit(self._pointer, room)
        return True

    def close(self) -> None:
        lib.user_ring_buffer__free(self._pointer)


class PerfEvents:
    """Reader of a perf event array: one event a CPU, opened and put into its slot."""

    def __init__(self, array: Map, sample: Callable[[bytes], None]) -> None:
        def take(_context: Any, _cpu: int, data: Any, size: int) -> None:
            sample(bytes(ffi.buffer(data, size)))

        self._take = ffi.callback("perf_sample", take)
        pointer = lib.perf_buffer__new(array.fd, 1, self._take, ffi.NULL, ffi.NULL, ffi.NULL)
        self._pointer = _pointer(pointer, f"read {array.name}")

    def consume(self) -> int:
        return int(lib.perf_buffer__consume(self._pointer))

    def close(self) -> None:
        lib.perf_buffer__free(self._pointer)


class TypeWriter:
    """BTF made by hand, for what clang of Debian 12 cannot emit."""

    def __init__(self) -> None:
        self._pointer = _pointer(lib.btf__new_empty(), "make BTF")

    def integer(self, name: str, size_bytes: int) -> int:
        return _checked(lib.btf__add_int(self._pointer, name.encode(), size_bytes, 0), f"add {name}")

    def enum64(self, name: str, values: dict[str, int], *, signed: bool) -> int:
        made = _checked(lib.btf__add_enum64(self._pointer, name.encode(), 8, signed), f"add {name}")
        for label, value in values.items():
            bits = value & 0xFFFFFFFFFFFFFFFF
            _checked(lib.btf__add_enum64_value(self._pointer, label.encode(), bits), f"add {label}")
        return made

    def struct(self, name: str, size_bytes: int, members: list[tuple[str, int, int]]) -> int:
        """`members`: name, type id, offset in bytes."""
        made = _checked(lib.btf__add_struct(self._pointer, name.encode(), size_bytes), f"add {name}")
        for member, type_id, offset_bytes in members:
            added = lib.btf__add_field(self._pointer, member.encode(), type_id, offset_bytes * 8, 0)
            _checked(added, f"add {member}")
        return made

    def load(self) -> int:
        """Into the kernel; returns the descriptor, which `close` closes."""
        _checked(lib.btf__load_into_kernel(self._pointer), "load BTF")
        return int(lib.btf__fd(self._pointer))

    def close(self) -> None:
        lib.btf__free(self._pointer)


def map_type_name(kind: int) -> str:
    """Lower-case kernel name of a map type: "lru_hash"."""
    return BpfMapType(kind).name.lower() if kind in set(BpfMapType) else f"type {kind}"
