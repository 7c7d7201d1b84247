/* What the demo's own cgroup sends and receives: both old cgroup storages, socket storage, a socket hash. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct socket_stats {
	__u64 packets_in;
	__u64 packets_out;
	__u64 bytes_in;
	__u64 bytes_out;
	__u64 opened_ns;
	__u32 family;
	__u32 protocol;
};

struct peer_key {
	__be32 local;
	__be32 remote;
	__u32 local_port;
	__be32 remote_port;
};

enum tcp_event {
	EVENT_NONE = 0,
	EVENT_CONNECTED = 1,
	EVENT_ACCEPTED = 2,
	EVENT_STATE_CHANGED = 3,
	EVENT_OTHER = 4,
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, struct traffic);
} cgroup_traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, struct traffic);
} cgroup_percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_stats);
} socket_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 256);
	__type(key, struct peer_key);
	__type(value, __u64);
} tcp_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32); /* the kernel takes no enum as an array's key */
	__type(value, __u64);
} tcp_events SEC(".maps");

static __always_inline struct socket_stats *stats_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct socket_stats *stats;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 0;
	stats = bpf_sk_storage_get(&socket_stats, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (stats && !stats->opened_ns) {
		stats->opened_ns = bpf_ktime_get_ns();
		stats->family = sk->family;
		stats->protocol = sk->protocol;
	}
	return stats;
}

static __always_inline void add_traffic(__u32 bytes)
{
	struct traffic *all = bpf_get_local_storage(&cgroup_traffic, 0);
	struct traffic *mine = bpf_get_local_storage(&cgroup_percpu, 0);

	__sync_fetch_and_add(&all->packets, 1);
	__sync_fetch_and_add(&all->bytes, bytes);
	mine->packets += 1;
	mine->bytes += bytes;
}

SEC("cgroup_skb/ingress")
int cgroup_in(struct __sk_buff *skb)
{
	struct socket_stats *stats = stats_of(skb);

	add_traffic(skb->len);
	if (stats) {
		__sync_fetch_and_add(&stats->packets_in, 1);
		__sync_fetch_and_add(&stats->bytes_in, skb->len);
	}
	return 1;
}

SEC("cgroup_skb/egress")
int cgroup_out(struct __sk_buff *skb)
{
	struct socket_stats *stats = stats_of(skb);

	add_traffic(skb->len);
	if (stats) {
		__sync_fetch_and_add(&stats->packets_out, 1);
		__sync_fetch_and_add(&stats->bytes_out, skb->len);
	}
	return 1;
}

SEC("sockops")
int on_tcp(struct bpf_sock_ops *ops)
{
	__u32 event = EVENT_OTHER;
	__u64 *count;

	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		event = EVENT_CONNECTED;
	else if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		event = EVENT_ACCEPTED;
	else if (ops->op == BPF_SOCK_OPS_STATE_CB)
		event = EVENT_STATE_CHANGED;
	count = bpf_map_lookup_elem(&tcp_events, &event);
	if (count)
		__sync_fetch_and_add(count, 1);
	if (event == EVENT_CONNECTED) {
		struct peer_key key = {
			.local = ops->local_ip4, .remote = ops->remote_ip4,
			.local_port = ops->local_port, .remote_port = ops->remote_port,
		};

		bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
		bpf_sock_hash_update(ops, &tcp_sockets, &key, BPF_ANY);
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
