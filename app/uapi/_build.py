"""Writes app/uapi/_abi.py: the C declarations below, in cffi's out-of-line ABI form.

That form needs no compiler, neither here nor where the product runs, and spares each start the parsing of C.
Run ``python -m app.uapi._build`` after a change; a test compares the file with what this would write.
One struct for each use of ``union bpf_attr`` in include/uapi/linux/bpf.h, its fields named as there.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

TARGET = Path(__file__).with_name("_abi.py")

CDEF = """
long syscall(long number, long cmd, void *attr, long size);

struct map_create {
    uint32_t map_type; uint32_t key_size; uint32_t value_size; uint32_t max_entries; uint32_t map_flags;
    uint32_t inner_map_fd; uint32_t numa_node; char map_name[16]; uint32_t map_ifindex; uint32_t btf_fd;
    uint32_t btf_key_type_id; uint32_t btf_value_type_id; uint32_t btf_vmlinux_value_type_id; uint64_t map_extra;
    int32_t value_type_btf_obj_fd; int32_t map_token_fd;
};
struct map_elem { uint32_t map_fd; uint64_t key; uint64_t value; uint64_t flags; };
struct map_batch {
    uint64_t in_batch; uint64_t out_batch; uint64_t keys; uint64_t values; uint32_t count; uint32_t map_fd;
    uint64_t elem_flags; uint64_t flags;
};
struct prog_load {
    uint32_t prog_type; uint32_t insn_cnt; uint64_t insns; uint64_t license; uint32_t log_level; uint32_t log_size;
    uint64_t log_buf; uint32_t kern_version; uint32_t prog_flags; char prog_name[16]; uint32_t prog_ifindex;
    uint32_t expected_attach_type; uint32_t prog_btf_fd; uint32_t func_info_rec_size; uint64_t func_info;
    uint32_t func_info_cnt; uint32_t line_info_rec_size; uint64_t line_info; uint32_t line_info_cnt;
    uint32_t attach_btf_id; uint32_t attach_prog_fd; uint32_t core_relo_cnt; uint64_t fd_array;
};
struct obj { uint64_t pathname; uint32_t bpf_fd; uint32_t file_flags; };
struct prog_attach {
    uint32_t target_fd; uint32_t attach_bpf_fd; uint32_t attach_type; uint32_t attach_flags; uint32_t replace_bpf_fd;
};
struct test_run {
    uint32_t prog_fd; uint32_t retval; uint32_t data_size_in; uint32_t data_size_out; uint64_t data_in;
    uint64_t data_out; uint32_t repeat; uint32_t duration; uint32_t ctx_size_in; uint32_t ctx_size_out;
    uint64_t ctx_in; uint64_t ctx_out; uint32_t flags; uint32_t cpu; uint32_t batch_size;
};
struct prog_query {
    uint32_t target_fd; uint32_t attach_type; uint32_t query_flags; uint32_t attach_flags; uint64_t prog_ids;
    uint32_t prog_cnt;
};
struct task_fd_query {
    uint32_t pid; uint32_t fd; uint32_t flags; uint32_t buf_len; uint64_t buf; uint32_t prog_id; uint32_t fd_type;
    uint64_t probe_offset; uint64_t probe_addr;
};
struct get_id { uint32_t id; uint32_t next_id; uint32_t open_flags; };
struct info_by_fd { uint32_t bpf_fd; uint32_t info_len; uint64_t info; };
struct raw_tracepoint { uint64_t name; uint32_t prog_fd; };
struct btf_load {
    uint64_t btf; uint64_t btf_log_buf; uint32_t btf_size; uint32_t btf_log_size; uint32_t btf_log_level;
};
struct link_create {
    uint32_t prog_fd; uint32_t target_fd; uint32_t attach_type; uint32_t flags; uint64_t iter_info;
    uint32_t iter_info_len;
};
struct iter_create { uint32_t link_fd; uint32_t flags; };
struct enable_stats { uint32_t type; };
struct freeze { uint32_t map_fd; };

struct map_info {
    uint32_t type; uint32_t id; uint32_t key_size; uint32_t value_size; uint32_t max_entries; uint32_t map_flags;
    char name[16]; uint32_t ifindex; uint32_t btf_vmlinux_value_type_id; uint64_t netns_dev; uint64_t netns_ino;
    uint32_t btf_id; uint32_t btf_key_type_id; uint32_t btf_value_type_id; uint32_t btf_vmlinux_id;
    uint64_t map_extra;
};
struct prog_info {
    uint32_t type; uint32_t id; uint8_t tag[8]; uint32_t jited_prog_len; uint32_t xlated_prog_len;
    uint64_t jited_prog_insns; uint64_t xlated_prog_insns; uint64_t load_time; uint32_t created_by_uid;
    uint32_t nr_map_ids; uint64_t map_ids; char name[16]; uint32_t ifindex; uint32_t gpl_compatible;
    uint64_t netns_dev; uint64_t netns_ino; uint32_t nr_jited_ksyms; uint32_t nr_jited_func_lens;
    uint64_t jited_ksyms; uint64_t jited_func_lens; uint32_t btf_id; uint32_t func_info_rec_size;
    uint64_t func_info; uint32_t nr_func_info; uint32_t nr_line_info; uint64_t line_info; uint64_t jited_line_info;
    uint32_t nr_jited_line_info; uint32_t line_info_rec_size; uint32_t jited_line_info_rec_size;
    uint32_t nr_prog_tags; uint64_t prog_tags; uint64_t run_time_ns; uint64_t run_cnt;
    uint64_t recursion_misses; uint32_t verified_insns; uint32_t attach_btf_obj_id; uint32_t attach_btf_id;
};
struct btf_info {
    uint64_t btf; uint32_t btf_size; uint32_t id; uint64_t name; uint32_t name_len; uint32_t kernel_btf;
};
struct link_info {
    uint32_t type; uint32_t id; uint32_t prog_id; uint32_t pad;
    union {
        struct { uint64_t tp_name; uint32_t tp_name_len; } raw_tracepoint;
        struct { uint32_t attach_type; uint32_t target_obj_id; uint32_t target_btf_id; } tracing;
        struct { uint64_t cgroup_id; uint32_t attach_type; } cgroup;
        struct { uint64_t target_name; uint32_t target_name_len; uint32_t map_id; } iter;
        struct { uint32_t netns_ino; uint32_t attach_type; } netns;
        struct { uint32_t ifindex; } xdp;
        struct { uint32_t map_id; } struct_ops;
        struct { uint32_t pf; uint32_t hooknum; int32_t priority; uint32_t flags; } netfilter;
        struct { uint32_t ifindex; uint32_t attach_type; } tcx;
        struct { uint32_t type; uint32_t pad; uint64_t name; uint32_t name_len; uint32_t offset; } perf_event;
        struct { uint32_t map_id; uint32_t attach_type; } sockmap;
        uint8_t room[48];
    };
};
"""


def generate(target: Path) -> None:
    """Write the module to `target`."""
    builder = FFI()
    builder.cdef(CDEF)
    builder.set_source("app.uapi._abi", None)
    builder.emit_python_code(str(target))


if __name__ == "__main__":
    generate(TARGET)
