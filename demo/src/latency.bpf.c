/* How long tasks wait for a CPU and packets for their acknowledgement, as log2 histograms; by BTF tracepoints. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define SLOTS 26

/* The few members that are read; libbpf finds where this kernel has them. */
struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	unsigned int __state;
} __attribute__((preserve_access_index));

struct tcp_sock {
	__u32 srtt_us;
	__u32 snd_cwnd;
	__u32 total_retrans;
} __attribute__((preserve_access_index));

struct sock_common {
	__be32 skc_daddr;
	unsigned short skc_family;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct comm {
	char comm[16];
};

struct histogram {
	__u64 slots[SLOTS];
	__u64 total_ns;
	__u64 max_ns;
};

struct stack_key {
	__u32 pid;
	__s32 kernel_stack_id;
	__s32 user_stack_id;
	char comm[16];
};

struct task_times {
	__u64 switches;
	__u64 ran_ns;
	__u64 waited_ns;
	__u64 last_on_ns;
	__u32 last_cpu;
	__u32 last_state;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} woken_at SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct comm);
	__type(value, struct histogram);
} runq_latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct histogram);
} cpu_latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, __be32);
	__type(value, struct histogram);
} tcp_rtt SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 512);
	__uint(key_size, 4);
	__uint(value_size, 32 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct stack_key);
	__type(value, __u64);
} stack_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_times);
} task_times SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} our_cgroup SEC(".maps");

const volatile __u32 target_tgid;
const volatile __u32 stack_every = 16;
__u64 min_latency_ns = 100;
__u64 switches;
__u64 switches_in_demo;
__u64 wakeups;
char last_comm[16];

/* A first value, too large for the program's stack. */
static const struct histogram empty;

static __always_inline void add(struct histogram *histogram, __u64 value)
{
	__u32 slot = 0;

	for (__u64 rest = value >> 1; rest && slot < SLOTS - 1; rest >>= 1)
		slot++;
	__sync_fetch_and_add(&histogram->slots[slot], 1);
	__sync_fetch_and_add(&histogram->total_ns, value);
	if (value > histogram->max_ns)
		histogram->max_ns = value;
}

static __always_inline struct histogram *histogram_of(void *map, const void *key)
{
	struct histogram *found = bpf_map_lookup_elem(map, key);

	if (found)
		return found;
	bpf_map_update_elem(map, key, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(on_wakeup, struct task_struct *task)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 pid = task->pid;

	wakeups++;
	bpf_map_update_elem(&woken_at, &pid, &now, BPF_ANY);
	return 0;
}

static __always_inline void sample_stack(void *ctx, struct task_struct *task)
{
	struct stack_key key = { .pid = task->pid };
	__u64 one = 1, *count;

	key.kernel_stack_id = bpf_get_stackid(ctx, &stacks, 0);
	key.user_stack_id = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	count = bpf_map_lookup_elem(&stack_counts, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&stack_counts, &key, &one, BPF_NOEXIST);
}

static __always_inline void switched_in(struct task_struct *next, __u64 now)
{
	__u32 pid = next->pid, zero = 0;
	__u64 *woken = bpf_map_lookup_elem(&woken_at, &pid);
	struct histogram *histogram;
	struct task_times *times;
	struct comm comm = {};
	__u64 waited;

	if (!woken || !pid)
		return;
	waited = now - *woken;
	bpf_map_delete_elem(&woken_at, &pid);
	if (waited < min_latency_ns || waited >> 40)
		return;
	bpf_probe_read_kernel(comm.comm, sizeof(comm.comm), next->comm);
	histogram = histogram_of(&runq_latency, &comm);
	if (histogram)
		add(histogram, waited);
	histogram = bpf_map_lookup_elem(&cpu_latency, &zero);
	if (histogram)
		add(histogram, waited);
	times = bpf_task_storage_get(&task_times, next, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (times) {
		times->waited_ns += waited;
		times->last_on_ns = now;
		times->last_cpu = bpf_get_smp_processor_id();
	}
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u64 now = bpf_ktime_get_ns();
	struct task_times *times = bpf_task_storage_get(&task_times, prev, 0, 0);

	switches++;
	if (times) {
		times->switches++;
		times->last_state = prev->__state;
		if (times->last_on_ns)
			times->ran_ns += now - times->last_on_ns;
		times->last_on_ns = 0;
	}
	if (bpf_current_task_under_cgroup(&our_cgroup, 0) == 1)
		__sync_fetch_and_add(&switches_in_demo, 1);
	if ((__u32)prev->tgid == target_tgid) {
		bpf_get_current_comm(last_comm, sizeof(last_comm));
		if (stack_every && times && times->switches % stack_every == 0)
			sample_stack(ctx, prev);
	}
	switched_in(next, now);
	return 0;
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(on_tcp_probe, struct sock *sk)
{
	struct tcp_sock *tcp = (void *)sk;
	struct histogram *histogram;
	__be32 peer = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	__u32 srtt_us = BPF_CORE_READ(tcp, srtt_us) >> 3;

	histogram = histogram_of(&tcp_rtt, &peer);
	if (histogram)
		add(histogram, (__u64)srtt_us * 1000);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
