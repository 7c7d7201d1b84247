/* Sockets in maps: a verdict on the streams of a sockmap, and the choice among sockets that share a UDP port. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct verdicts {
	__u64 passed;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} shared_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} chosen_sockets SEC(".maps");

struct verdicts verdicts;

SEC("sk_skb/stream_verdict")
int pass_stream(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&verdicts.passed, 1);
	__sync_fetch_and_add(&verdicts.bytes, skb->len);
	return SK_PASS;
}

SEC("sk_reuseport")
int choose_socket(struct sk_reuseport_md *md)
{
	__u32 slot = md->hash & 3;
	__u64 *count = bpf_map_lookup_elem(&chosen_sockets, &slot);

	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_sk_select_reuseport(md, &shared_port, &slot, 0);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
