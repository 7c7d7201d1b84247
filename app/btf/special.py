"""Fields that the kernel itself keeps in a map's value, found as it finds them: by a struct's name or a pointer's tag.

Source: btf_get_field_type() and btf_find_kptr() of kernel/bpf/btf.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.btf.types import Const, Ptr, Restrict, Struct, TypeTag, Volatile

if TYPE_CHECKING:
    from app.btf.parse import Btf

MAX_TAGS = 16


@dataclass(frozen=True, slots=True)
class Special:
    """A field whose bytes are the kernel's business."""

    name: str
    """"bpf_timer", "kptr" and so on."""
    note: str
    """One clause for people: what it is, and what a lookup shows of it."""


_STRUCTS = {
    special.name: special
    for special in (
        Special("bpf_spin_lock", "spin lock: reads as 0, an update leaves it alone"),
        Special("bpf_res_spin_lock", "resilient spin lock: reads as 0, an update leaves it alone"),
        Special("bpf_timer", "timer: reads as 0, replacing the whole value cancels it"),
        Special("bpf_wq", "work queue: reads as 0, replacing the whole value frees it"),
        Special("bpf_task_work", "task work: reads as 0, the kernel's own"),
        Special("bpf_list_head", "list head: what it reads as means nothing, replacing the whole value frees the list"),
        Special("bpf_list_node", "list node: the kernel's own links"),
        Special("bpf_rb_root", "tree root: reads as 0, replacing the whole value frees the tree"),
        Special("bpf_rb_node", "tree node: the kernel's own links"),
        Special("bpf_refcount", "reference count: the kernel's own"),
    )
}
_TAGS = {
    special.name: special
    for special in (
        Special("kptr", "kernel pointer: reads as 0, replacing the whole value drops its reference"),
        Special("kptr_ref", "kernel pointer: reads as 0, replacing the whole value drops its reference"),
        Special("kptr_untrusted", "kernel pointer without a reference: reads as 0"),
        Special("percpu_kptr", "per-CPU kernel pointer: reads as 0, replacing the whole value drops it"),
        Special("uptr", "pointer into user memory: reads as 0"),
    )
}
NAMES = (*_STRUCTS, *_TAGS)


def special(btf: Btf, type_id: int) -> Special | None:
    """Return what is special about a field of this type, None for an ordinary one."""
    found = btf.resolve(type_id)
    match found:
        case Struct():
            return _STRUCTS.get(found.name)
        case Ptr():
            current = btf.type(found.target)
            for _ in range(MAX_TAGS):
                match current:
                    case TypeTag():
                        if current.value in _TAGS:
                            return _TAGS[current.value]
                    case Const() | Volatile() | Restrict():
                        pass
                    case _:
                        return None
                current = btf.type(current.target)
    return None
