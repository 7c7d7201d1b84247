"""The part of libbpf's and libc's C interface that the demo calls, for cffi's ABI mode.

Copied from libbpf 1.1: <bpf/libbpf.h>, <bpf/bpf.h>, <bpf/btf.h>. Each ``_opts`` struct begins with its own size, so a
newer libbpf accepts these shorter ones.
"""

CDEF = """
struct bpf_object; struct bpf_program; struct bpf_map; struct bpf_link; struct btf;
struct ring_buffer; struct user_ring_buffer; struct perf_buffer;

struct bpf_map_create_opts {
    size_t sz; uint32_t btf_fd; uint32_t btf_key_type_id; uint32_t btf_value_type_id;
    uint32_t btf_vmlinux_value_type_id; uint32_t inner_map_fd; uint32_t map_flags; uint64_t map_extra;
    uint32_t numa_node; uint32_t map_ifindex;
};
struct bpf_test_run_opts {
    size_t sz; const void *data_in; void *data_out; uint32_t data_size_in; uint32_t data_size_out;
    const void *ctx_in; void *ctx_out; uint32_t ctx_size_in; uint32_t ctx_size_out; uint32_t retval; int repeat;
    uint32_t duration; uint32_t flags; uint32_t cpu; uint32_t batch_size;
};
struct bpf_tc_hook { size_t sz; int ifindex; int attach_point; uint32_t parent; };
struct bpf_tc_opts {
    size_t sz; int prog_fd; uint32_t flags; uint32_t prog_id; uint32_t handle; uint32_t priority;
};
struct btf_type { uint32_t name_off; uint32_t info; uint32_t size; };
struct btf_var_secinfo { uint32_t type; uint32_t offset; uint32_t size; };

void *libbpf_set_print(void *fn);
struct bpf_object *bpf_object__open_file(const char *path, const void *opts);
int bpf_object__load(struct bpf_object *obj);
void bpf_object__close(struct bpf_object *obj);
int bpf_object__btf_fd(const struct bpf_object *obj);
struct btf *bpf_object__btf(const struct bpf_object *obj);
struct bpf_program *bpf_object__find_program_by_name(const struct bpf_object *obj, const char *name);
struct bpf_program *bpf_object__next_program(const struct bpf_object *obj, struct bpf_program *prog);
const char *bpf_program__name(const struct bpf_program *prog);
int bpf_program__set_autoload(struct bpf_program *prog, _Bool autoload);
int bpf_program__fd(const struct bpf_program *prog);
struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *obj, const char *name);
struct bpf_map *bpf_object__next_map(const struct bpf_object *obj, const struct bpf_map *map);
const char *bpf_map__name(const struct bpf_map *map);
int bpf_map__fd(const struct bpf_map *map);
int bpf_map__type(const struct bpf_map *map);
int bpf_map__reuse_fd(struct bpf_map *map, int fd);
void *bpf_map__initial_value(struct bpf_map *map, size_t *size);
struct bpf_link *bpf_program__attach(const struct bpf_program *prog);
struct bpf_link *bpf_program__attach_cgroup(const struct bpf_program *prog, int cgroup_fd);
struct bpf_link *bpf_program__attach_xdp(const struct bpf_program *prog, int ifindex);
struct bpf_link *bpf_map__attach_struct_ops(const struct bpf_map *map);
int bpf_link__destroy(struct bpf_link *link);
int bpf_tc_hook_create(struct bpf_tc_hook *hook);
int bpf_tc_attach(const struct bpf_tc_hook *hook, struct bpf_tc_opts *opts);

int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries,
                   const struct bpf_map_create_opts *opts);
int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int bpf_map_delete_elem(int fd, const void *key);
int bpf_map_lookup_and_delete_elem(int fd, const void *key, void *value);
int bpf_obj_pin(int fd, const char *path);
int bpf_obj_get(const char *path);
int bpf_prog_attach(int prog_fd, int target_fd, int type, unsigned int flags);
int bpf_prog_test_run_opts(int prog_fd, struct bpf_test_run_opts *opts);

struct btf *btf__new_empty(void);
void btf__free(struct btf *btf);
int btf__fd(const struct btf *btf);
int btf__load_into_kernel(struct btf *btf);
int32_t btf__find_by_name_kind(const struct btf *btf, const char *name, uint32_t kind);
const struct btf_type *btf__type_by_id(const struct btf *btf, uint32_t id);
const char *btf__name_by_offset(const struct btf *btf, uint32_t offset);
int btf__add_int(struct btf *btf, const char *name, size_t size, int encoding);
int btf__add_array(struct btf *btf, int index_type_id, int elem_type_id, uint32_t count);
int btf__add_struct(struct btf *btf, const char *name, uint32_t size);
int btf__add_field(struct btf *btf, const char *name, int type_id, uint32_t bit_offset, uint32_t bit_size);
int btf__add_enum64(struct btf *btf, const char *name, uint32_t size, bool is_signed);
int btf__add_enum64_value(struct btf *btf, const char *name, uint64_t value);

typedef int (*ring_sample)(void *ctx, void *data, size_t size);
struct ring_buffer *ring_buffer__new(int map_fd, ring_sample fn, void *ctx, const void *opts);
int ring_buffer__consume(struct ring_buffer *rb);
void ring_buffer__free(struct ring_buffer *rb);
struct user_ring_buffer *user_ring_buffer__new(int map_fd, const void *opts);
void *user_ring_buffer__reserve(struct user_ring_buffer *rb, uint32_t size);
void user_ring_buffer__submit(struct user_ring_buffer *rb, void *sample);
void user_ring_buffer__free(struct user_ring_buffer *rb);
typedef void (*perf_sample)(void *ctx, int cpu, void *data, uint32_t size);
typedef void (*perf_lost)(void *ctx, int cpu, uint64_t count);
struct perf_buffer *perf_buffer__new(int map_fd, size_t pages, perf_sample fn, perf_lost lost, void *ctx,
                                     const void *opts);
int perf_buffer__consume(struct perf_buffer *pb);
void perf_buffer__free(struct perf_buffer *pb);
"""

LIBC_CDEF = """
int setns(int fd, int nstype);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
"""
