/* A five-tuple flow table: XDP sees what enters the server's namespace, tc what leaves it. */
#include "packet.h"

struct flow_stats {
	__u64 packets;
	__u64 bytes;
	__u64 first_seen_ns;
	__u64 last_seen_ns;
	__u32 drops;
	enum tcp_state state;
	__u32 limit_pps;
	__u16 window;
	__u8 ttl;
	__u8 from_server;
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct prefix {
	__u32 prefixlen;
	__be32 addr;
};

struct block_rule {
	__u64 hits;
	__u64 last_hit_ns;
	__u32 rule_id;
	char reason[20];
};

struct new_flow {
	__u64 seen_ns;
	struct flow_key key;
	__u32 bytes;
	__u32 ifindex;
};

struct length_histogram {
	__u64 slots[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, struct block_rule);
} blocklist SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct traffic);
} protocols SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 512);
	__type(key, __be32);
	__type(value, struct traffic);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, __be16);
	__type(value, struct traffic);
} busy_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u8);
	__type(value, struct length_histogram);
} packet_lengths SEC(".maps");

struct port_window {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u16);
	__type(value, __u64);
};

/* Packets by port in the present and the last five windows of ten seconds; the loader puts in fresh maps. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 6);
	__type(key, __u32);
	__array(values, struct port_window);
} port_windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 4096);
	__type(value, struct flow_key);
	__uint(map_extra, 3);
} seen_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} new_flows SEC(".maps");

/* Nobody reads this one: it fills, and stays full. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} unread_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} ping_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 64);
	__type(value, struct new_flow);
} flow_queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 64);
	__type(value, struct new_flow);
} flow_stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} out_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} out_by_ifindex SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* .rodata, .data and .bss: what never changes, what an operator might, what only counts. */
const volatile __u32 drop_blocked = 1;
const volatile char greeting[32] = "bpf-atlas demo";
__u32 default_limit_pps = 1000;
__u16 redirect_ports[3] = { 7001, 7002, 7003 };
__u64 packets_seen;
__u64 packets_blocked;
__u64 last_packet_ns;
__u32 ring_full;

static __always_inline void remember(const struct packet *packet, __u64 now, __u32 ifindex)
{
	struct new_flow seen = { .seen_ns = now, .key = packet->key, .bytes = packet->bytes, .ifindex = ifindex };

	bpf_map_push_elem(&seen_flows, &packet->key, BPF_ANY);
	bpf_map_push_elem(&flow_queue, &seen, BPF_EXIST);
	bpf_map_push_elem(&flow_stack, &seen, BPF_EXIST);
	if (bpf_ringbuf_output(&new_flows, &seen, sizeof(seen), 0))
		__sync_fetch_and_add(&ring_full, 1);
	bpf_ringbuf_output(&unread_ring, &seen, sizeof(seen), 0);
}

static __always_inline void account(const struct packet *packet, __u32 ifindex, __u8 from_server)
{
	__u64 now = bpf_ktime_get_ns();
	struct flow_stats *stats = bpf_map_lookup_elem(&flows, &packet->key);

	if (stats) {
		__sync_fetch_and_add(&stats->packets, 1);
		__sync_fetch_and_add(&stats->bytes, packet->bytes);
		stats->last_seen_ns = now;
		if (packet->key.proto == IPPROTO_TCP) {
			stats->state = packet->state;
			stats->window = packet->window;
		}
		return;
	}
	struct flow_stats fresh = {
		.packets = 1, .bytes = packet->bytes, .first_seen_ns = now, .last_seen_ns = now,
		.state = packet->state, .limit_pps = default_limit_pps, .window = packet->window,
		.ttl = packet->ttl, .from_server = from_server,
	};
	bpf_map_update_elem(&flows, &packet->key, &fresh, BPF_ANY);
	remember(packet, now, ifindex);
}

static __always_inline void add_traffic(void *map, const void *key, __u32 bytes)
{
	struct traffic *traffic = bpf_map_lookup_elem(map, key);
	struct traffic fresh = { .packets = 1, .bytes = bytes };

	if (!traffic) {
		bpf_map_update_elem(map, key, &fresh, BPF_NOEXIST);
		return;
	}
	traffic->packets += 1; /* per CPU: no other writer */
	traffic->bytes += bytes;
}

static __always_inline void add_length(__u8 proto, __u32 bytes)
{
	struct length_histogram *histogram = bpf_map_lookup_elem(&packet_lengths, &proto);
	struct length_histogram fresh = {};
	__u32 slot = 0;

	if (!histogram) {
		bpf_map_update_elem(&packet_lengths, &proto, &fresh, BPF_NOEXIST);
		histogram = bpf_map_lookup_elem(&packet_lengths, &proto);
		if (!histogram)
			return;
	}
	for (__u32 rest = bytes >> 1; rest && slot < 11; rest >>= 1)
		slot++;
	__sync_fetch_and_add(&histogram->slots[slot], 1);
}

static __always_inline void add_port(__be16 port_be)
{
	__u32 present = 0;
	void *window = bpf_map_lookup_elem(&port_windows, &present);
	__u16 port = bpf_ntohs(port_be);
	__u64 one = 1, *count;

	if (!window)
		return;
	count = bpf_map_lookup_elem(window, &port);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(window, &port, &one, BPF_NOEXIST);
}

static __always_inline int blocked(const struct packet *packet, __u32 ifindex)
{
	struct prefix whole = { .prefixlen = 32, .addr = packet->key.saddr };
	struct block_rule *rule = bpf_map_lookup_elem(&blocklist, &whole);
	struct flow_stats *stats;

	if (!rule || !drop_blocked)
		return 0;
	__sync_fetch_and_add(&rule->hits, 1);
	rule->last_hit_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&packets_blocked, 1);
	account(packet, ifindex, 0);
	stats = bpf_map_lookup_elem(&flows, &packet->key);
	if (stats)
		__sync_fetch_and_add(&stats->drops, 1);
	return 1;
}

SEC("xdp")
int xdp_tcp(struct xdp_md *ctx)
{
	struct packet packet = {};

	if (!parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &packet)) {
		account(&packet, ctx->ingress_ifindex, 0);
		add_port(packet.key.dport);
	}
	return XDP_PASS;
}

/* Three ports leave by a map: to a device, to another CPU, to an AF_XDP socket; all others go up the stack. */
SEC("xdp")
int xdp_udp(struct xdp_md *ctx)
{
	struct packet packet = {};
	__u16 port;

	if (parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &packet))
		return XDP_PASS;
	account(&packet, ctx->ingress_ifindex, 0);
	add_port(packet.key.dport);
	add_traffic(&busy_ports, &packet.key.dport, packet.bytes);
	port = bpf_ntohs(packet.key.dport);
	if (port == redirect_ports[0])
		return packet.bytes & 1 ? bpf_redirect_map(&out_ports, 0, XDP_DROP)
					: bpf_redirect_map(&out_by_ifindex, ctx->ingress_ifindex, XDP_DROP);
	if (port == redirect_ports[1])
		return bpf_redirect_map(&cpus, 0, XDP_PASS);
	if (port == redirect_ports[2])
		return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
	return XDP_PASS;
}

SEC("xdp")
int xdp_icmp(struct xdp_md *ctx)
{
	struct packet packet = {};

	if (!parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &packet)) {
		account(&packet, ctx->ingress_ifindex, 0);
		bpf_perf_event_output(ctx, &ping_events, BPF_F_CURRENT_CPU, &packet.key, sizeof(packet.key));
	}
	return XDP_PASS;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 256);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} by_protocol SEC(".maps") = {
	.values = {
		[IPPROTO_ICMP] = (void *)&xdp_icmp,
		[IPPROTO_TCP] = (void *)&xdp_tcp,
		[IPPROTO_UDP] = (void *)&xdp_udp,
	},
};

SEC("xdp")
int xdp_flows(struct xdp_md *ctx)
{
	struct packet packet = {};
	__u32 proto;

	if (parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &packet))
		return XDP_PASS;
	proto = packet.key.proto;
	last_packet_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&packets_seen, 1);
	add_traffic(&protocols, &proto, packet.bytes);
	add_traffic(&sources, &packet.key.saddr, packet.bytes);
	add_length(packet.key.proto, packet.bytes);
	if (blocked(&packet, ctx->ingress_ifindex))
		return XDP_DROP;
	bpf_tail_call(ctx, &by_protocol, proto);
	return XDP_PASS;
}

SEC("tc")
int tc_flows(struct __sk_buff *skb)
{
	struct packet packet = {};

	if (!parse((void *)(long)skb->data, (void *)(long)skb->data_end, &packet))
		account(&packet, skb->ifindex, 1);
	return 0; /* TC_ACT_OK */
}

char LICENSE[] SEC("license") = "GPL";
