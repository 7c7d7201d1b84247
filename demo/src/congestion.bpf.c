/* A TCP congestion control: Reno by the kernel's own functions, with counters. Registered, never the default. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Never looked into, but the kernel's functions want a struct of this name, not a mere declaration. */
struct sock {
	int unused;
};

/* The members that are set, under the kernel's names; libbpf moves them to where this kernel has them. */
struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	char name[16];
};

enum congestion_event {
	CONGESTION_INIT = 0,
	CONGESTION_AVOID = 1,
	CONGESTION_LOSS = 2,
	CONGESTION_UNDO = 3,
	CONGESTION_RELEASE = 4,
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH); /* an array's key may be no enum */
	__uint(max_entries, 8);
	__type(key, enum congestion_event);
	__type(value, __u64);
} congestion SEC(".maps");

extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

static __always_inline void count(enum congestion_event event)
{
	__u64 *found = bpf_map_lookup_elem(&congestion, &event);

	if (found)
		__sync_fetch_and_add(found, 1);
}

SEC("struct_ops/atlas_init")
void BPF_PROG(atlas_init, struct sock *sk)
{
	count(CONGESTION_INIT);
}

SEC("struct_ops/atlas_release")
void BPF_PROG(atlas_release, struct sock *sk)
{
	count(CONGESTION_RELEASE);
}

SEC("struct_ops/atlas_ssthresh")
__u32 BPF_PROG(atlas_ssthresh, struct sock *sk)
{
	count(CONGESTION_LOSS);
	return tcp_reno_ssthresh(sk);
}

SEC("struct_ops/atlas_avoid")
void BPF_PROG(atlas_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	count(CONGESTION_AVOID);
	tcp_reno_cong_avoid(sk, ack, acked);
}

SEC("struct_ops/atlas_undo")
__u32 BPF_PROG(atlas_undo, struct sock *sk)
{
	count(CONGESTION_UNDO);
	return tcp_reno_undo_cwnd(sk);
}

SEC(".struct_ops")
struct tcp_congestion_ops atlas_reno = {
	.init = (void *)atlas_init,
	.release = (void *)atlas_release,
	.ssthresh = (void *)atlas_ssthresh,
	.cong_avoid = (void *)atlas_avoid,
	.undo_cwnd = (void *)atlas_undo,
	.name = "bpf_atlas",
};

char LICENSE[] SEC("license") = "GPL";
