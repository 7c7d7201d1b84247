// Values with things of the kernel's beside numbers: programs that put them there, and that say whether they are still there.
// For tests/broker/test_swap_kept.py, compiled by clang and loaded by bpftool.
// Newer <linux/bpf.h> have these structs, older ones do not: its own are put aside.
#define bpf_list_head uapi_list_head
#define bpf_list_node uapi_list_node
#include <linux/bpf.h>
#undef bpf_list_head
#undef bpf_list_node
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct bpf_list_head {
	__u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	__u64 opaque[3];
} __attribute__((aligned(8)));

#define kernel_ptr __attribute__((btf_type_tag("kptr")))
#define contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, __u64 off) __ksym;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym;

// clang 14 loses the tag of a pointer straight to a struct, not that of a pointer to its typedef.
typedef struct held {
	__u64 number;
} held_t;

struct linked {
	struct bpf_list_node node;
	__u64 number;
};

struct with_timer {
	__u64 ticks;
	struct bpf_timer timer;
	__u32 edited;
	__u32 other;
};

struct with_kptr {
	__u32 edited;
	__u32 other;
	held_t kernel_ptr *held;
};

struct with_list {
	struct bpf_spin_lock lock;
	__u32 edited;
	struct bpf_list_head head contains(linked, node);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct with_timer);
} timers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct with_kptr);
} kptrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct with_list);
} lists SEC(".maps");

static int tick(void *map, __u32 *key, struct with_timer *value)
{
	__sync_fetch_and_add(&value->ticks, 1);
	bpf_timer_start(&value->timer, 1000000, 0);
	return 0;
}

SEC("tc")
int put_timer(struct __sk_buff *skb)
{
	__u32 key = 7;
	struct with_timer *value = bpf_map_lookup_elem(&timers, &key);

	if (!value)
		return 1;
	if (bpf_timer_init(&value->timer, &timers, 1))
		return 2;
	bpf_timer_set_callback(&value->timer, tick);
	return bpf_timer_start(&value->timer, 1000000, 0) ? 3 : 0;
}

SEC("tc")
int put_kptr(struct __sk_buff *skb)
{
	__u32 key = 7;
	struct with_kptr *value = bpf_map_lookup_elem(&kptrs, &key);
	struct held *held;

	if (!value)
		return 1;
	held = bpf_obj_new_impl(bpf_core_type_id_local(struct held), 0);
	if (!held)
		return 2;
	held->number = 4711;
	held = bpf_kptr_xchg(&value->held, held);
	if (held)
		bpf_obj_drop_impl(held, 0);
	return 0;
}

SEC("tc")
int see_kptr(struct __sk_buff *skb)
{
	__u32 key = 7;
	struct with_kptr *value = bpf_map_lookup_elem(&kptrs, &key);
	struct held *held;
	int number;

	if (!value)
		return 1;
	held = bpf_kptr_xchg(&value->held, 0);
	if (!held)
		return 2;
	number = held->number;
	held = bpf_kptr_xchg(&value->held, held);
	if (held)
		bpf_obj_drop_impl(held, 0);
	return number;
}

SEC("tc")
int put_list(struct __sk_buff *skb)
{
	__u32 key = 7;
	struct with_list *value = bpf_map_lookup_elem(&lists, &key);
	struct linked *linked;

	if (!value)
		return 1;
	linked = bpf_obj_new_impl(bpf_core_type_id_local(struct linked), 0);
	if (!linked)
		return 2;
	linked->number = 4712;
	bpf_spin_lock(&value->lock);
	bpf_list_push_front_impl(&value->head, &linked->node, 0, 0);
	bpf_spin_unlock(&value->lock);
	return 0;
}

SEC("tc")
int see_list(struct __sk_buff *skb)
{
	__u32 key = 7;
	struct with_list *value = bpf_map_lookup_elem(&lists, &key);
	struct bpf_list_node *node;
	struct linked *linked;
	int number;

	if (!value)
		return 1;
	bpf_spin_lock(&value->lock);
	node = bpf_list_pop_front(&value->head);
	bpf_spin_unlock(&value->lock);
	if (!node)
		return 2;
	linked = (struct linked *)((char *)node - __builtin_offsetof(struct linked, node));
	number = linked->number;
	bpf_spin_lock(&value->lock);
	bpf_list_push_front_impl(&value->head, &linked->node, 0, 0);
	bpf_spin_unlock(&value->lock);
	return number;
}

char _license[] SEC("license") = "GPL";
