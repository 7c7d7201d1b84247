/* Values that own kernel objects: a list, a tree (Linux 6.3) and a reference to a task. */
/* A newer <linux/bpf.h> has these structs too; its own are put aside under another name. */
#define bpf_list_head uapi_list_head
#define bpf_list_node uapi_list_node
#define bpf_rb_root uapi_rb_root
#define bpf_rb_node uapi_rb_node
#include <linux/bpf.h>
#undef bpf_list_head
#undef bpf_list_node
#undef bpf_rb_root
#undef bpf_rb_node
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct bpf_list_head {
	__u64 __opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
	__u64 __opaque[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
	__u64 __opaque[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
	__u64 __opaque[4];
} __attribute__((aligned(8)));

#define contains(type, member) __attribute__((btf_decl_tag("contains:" #type ":" #member)))
#define kernel_ptr __attribute__((btf_type_tag("kptr")))
#define LIST_LENGTH 8

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

/* clang 14 loses the tag of a pointer straight to a struct, not that of a pointer to its typedef. */
typedef struct task_struct task_t;

struct job {
	__u64 queued_ns;
	struct bpf_list_node link;
};

struct deadline {
	__u64 due_ns;
	struct bpf_rb_node link;
};

struct work_queue {
	__u64 pushed;
	__u64 popped;
	struct bpf_spin_lock lock;
	struct bpf_list_head jobs contains(job, link);
};

struct calendar {
	__u64 added;
	__u64 removed;
	struct bpf_spin_lock lock;
	struct bpf_rb_root deadlines contains(deadline, link);
};

struct watched {
	__u64 set_ns;
	__u32 pid;
	__u32 times;
	task_t kernel_ptr *task;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct work_queue);
} work_queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct calendar);
} calendars SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct watched);
} watched_tasks SEC(".maps");

extern void *bpf_obj_new_impl(__u64 local_type_id, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;
extern int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, __u64 off) __ksym;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			       bool (*less)(struct bpf_rb_node *a, const struct bpf_rb_node *b), void *meta,
			       __u64 off) __ksym;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) __ksym;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node) __ksym;
extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

#define object_new(type) ((type *)bpf_obj_new_impl(bpf_core_type_id_local(type), NULL))
#define container(pointer, type, member) ((type *)((void *)(pointer)-offsetof(type, member)))

static bool due_first(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container(a, struct deadline, link)->due_ns < container(b, struct deadline, link)->due_ns;
}

SEC("tc")
int queue_job(struct __sk_buff *skb)
{
	__u32 slot = skb->len & 1;
	struct work_queue *queue = bpf_map_lookup_elem(&work_queues, &slot);
	struct bpf_list_node *first = NULL;
	struct job *fresh;

	if (!queue)
		return 0;
	fresh = object_new(struct job);
	if (!fresh)
		return 0;
	fresh->queued_ns = bpf_ktime_get_ns();
	bpf_spin_lock(&queue->lock);
	bpf_list_push_back_impl(&queue->jobs, &fresh->link, NULL, 0);
	queue->pushed++;
	if (queue->pushed - queue->popped > LIST_LENGTH) {
		first = bpf_list_pop_front(&queue->jobs);
		queue->popped++;
	}
	bpf_spin_unlock(&queue->lock);
	if (first)
		bpf_obj_drop_impl(container(first, struct job, link), NULL);
	return 0;
}

SEC("tc")
int add_deadline(struct __sk_buff *skb)
{
	__u32 slot = skb->len & 1;
	struct calendar *calendar = bpf_map_lookup_elem(&calendars, &slot);
	struct bpf_rb_node *first = NULL;
	struct deadline *fresh;

	if (!calendar)
		return 0;
	fresh = object_new(struct deadline);
	if (!fresh)
		return 0;
	fresh->due_ns = bpf_ktime_get_ns() + bpf_get_prandom_u32();
	bpf_spin_lock(&calendar->lock);
	bpf_rbtree_add_impl(&calendar->deadlines, &fresh->link, due_first, NULL, 0);
	calendar->added++;
	if (calendar->added - calendar->removed > LIST_LENGTH) {
		first = bpf_rbtree_first(&calendar->deadlines);
		if (first)
			first = bpf_rbtree_remove(&calendar->deadlines, first);
		calendar->removed++;
	}
	bpf_spin_unlock(&calendar->lock);
	if (first)
		bpf_obj_drop_impl(container(first, struct deadline, link), NULL);
	return 0;
}

SEC("tc")
int watch_task(struct __sk_buff *skb)
{
	struct task_struct *task, *old;
	struct watched *watched;
	__u32 slot = 0, pid = 0;

	bpf_skb_load_bytes(skb, 0, &slot, sizeof(slot));
	bpf_skb_load_bytes(skb, 4, &pid, sizeof(pid));
	watched = bpf_map_lookup_elem(&watched_tasks, &slot);
	if (!watched)
		return 0;
	task = bpf_task_from_pid(pid);
	if (!task)
		return 0;
	watched->pid = task->pid;
	watched->set_ns = bpf_ktime_get_ns();
	watched->times++;
	old = bpf_kptr_xchg(&watched->task, task);
	if (old)
		bpf_task_release(old);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
