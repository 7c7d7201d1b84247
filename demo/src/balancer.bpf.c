/* A load balancer whose maps have the layout of Cilium's lb4 family: names cut to the 15 letters that a map may have. */
#include "packet.h"

#define LUT_SIZE 251
#define BPF_F_MANGLED_0 0x20

enum lb4_service_flags {
	SVC_EXTERNAL_IP = 1,
	SVC_NODEPORT = 2,
	SVC_AFFINITY = 16,
	SVC_MAGLEV = 64,
};

struct lb4_key {
	__be32 address;
	__be16 dport;
	__u16 backend_slot;
	__u8 proto;
	__u8 scope;
	__u8 pad[2];
};

struct lb4_service {
	union {
		__u32 backend_id;
		__u32 affinity_timeout;
		__u32 l7_lb_proxy_port;
	};
	__u16 count;
	__u16 rev_nat_index;
	__u8 flags;
	__u8 flags2;
	__u16 qcount;
};

struct lb4_backend {
	__be32 address;
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u16 cluster_id;
	__u8 zone;
	__u8 pad;
};

struct lb4_reverse_nat {
	__be32 address;
	__be16 port;
} __attribute__((packed));

union lb4_affinity_client_id {
	__u64 client_cookie;
	__be32 client_ip;
};

struct lb4_affinity_key {
	union lb4_affinity_client_id client_id;
	__u16 rev_nat_id;
	__u8 netns_cookie : 1, reserved : 7;
	__u8 pad1;
	__u32 pad2;
};

struct lb_affinity_val {
	__u64 last_used;
	__u32 backend_id;
	__u32 pad;
};

struct ct_entry {
	__u64 packets;
	__u64 bytes;
	__u64 last_seen_ns;
	__u32 backend_id;
	__u16 rev_nat_index;
	__u16 rx_closing : 1, tx_closing : 1, nat46 : 1, lb_loopback : 1, seen_non_syn : 1, node_port : 1, reserve : 10;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct lb4_key);
	__type(value, struct lb4_service);
} lb4_services_v2 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct lb4_backend);
} lb4_backends_v3 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u16);
	__type(value, struct lb4_reverse_nat);
} lb4_reverse_nat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct lb4_affinity_key);
	__type(value, struct lb_affinity_val);
} lb4_affinity SEC(".maps");

struct maglev_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32) * LUT_SIZE);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u16);
	__array(values, struct maglev_inner);
} lb4_maglev SEC(".maps");

/* Keyed by the reply's direction: what the backend sends back. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct ct_entry);
} ct4 SEC(".maps");

/* Made by the loader without BTF, as an old tool's would be: three u64 by protocol. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 24);
} legacy_stats SEC(".maps");

static __always_inline __u32 by_maglev(__u16 index, const struct packet *packet)
{
	void *inner = bpf_map_lookup_elem(&lb4_maglev, &index);
	__u32 zero = 0, *lut, slot;

	if (!inner)
		return 0;
	lut = bpf_map_lookup_elem(inner, &zero);
	if (!lut)
		return 0;
	slot = (packet->key.saddr ^ packet->key.daddr) * 2654435761u ^ packet->key.sport * 40503u;
	slot = (slot ^ slot >> 15) & 255; /* the verifier follows a mask, not a remainder */
	return lut[slot < LUT_SIZE ? slot : slot - LUT_SIZE];
}

static __always_inline __u32 by_affinity(const struct lb4_service *service, const struct packet *packet)
{
	struct lb4_affinity_key key = { .client_id.client_ip = packet->key.saddr, .rev_nat_id = service->rev_nat_index };
	struct lb_affinity_val *value = bpf_map_lookup_elem(&lb4_affinity, &key);

	if (!value)
		return 0;
	value->last_used = bpf_ktime_get_ns();
	return value->backend_id;
}

static __always_inline __u32 by_chance(const struct lb4_service *service, struct lb4_key key, const struct packet *packet)
{
	struct lb_affinity_val chosen = { .last_used = bpf_ktime_get_ns() };
	struct lb4_service *slot;

	key.backend_slot = bpf_get_prandom_u32() % service->count + 1;
	slot = bpf_map_lookup_elem(&lb4_services_v2, &key);
	if (!slot)
		return 0;
	if (service->flags & SVC_AFFINITY) {
		struct lb4_affinity_key client = {
			.client_id.client_ip = packet->key.saddr, .rev_nat_id = service->rev_nat_index,
		};

		chosen.backend_id = slot->backend_id;
		bpf_map_update_elem(&lb4_affinity, &client, &chosen, BPF_ANY);
	}
	return slot->backend_id;
}

static __always_inline void count_legacy(__u32 protocol, __u32 bytes)
{
	__u64 fresh[3] = { 1, bytes, bpf_ktime_get_ns() };
	__u64 *stats = bpf_map_lookup_elem(&legacy_stats, &protocol);

	if (!stats) {
		bpf_map_update_elem(&legacy_stats, &protocol, fresh, BPF_NOEXIST);
		return;
	}
	__sync_fetch_and_add(&stats[0], 1);
	__sync_fetch_and_add(&stats[1], bytes);
	stats[2] = fresh[2];
}

static __always_inline void track(const struct packet *packet, const struct lb4_backend *backend, __u32 backend_id,
				  const struct lb4_service *service)
{
	struct flow_key reply = {
		.saddr = backend->address, .daddr = packet->key.saddr,
		.sport = backend->port, .dport = packet->key.sport, .proto = packet->key.proto,
	};
	struct ct_entry fresh = {
		.packets = 1, .bytes = packet->bytes, .last_seen_ns = bpf_ktime_get_ns(), .backend_id = backend_id,
		.rev_nat_index = service->rev_nat_index, .seen_non_syn = 1, .node_port = !!(service->flags & SVC_NODEPORT),
	};
	struct ct_entry *entry = bpf_map_lookup_elem(&ct4, &reply);

	if (!entry) {
		bpf_map_update_elem(&ct4, &reply, &fresh, BPF_ANY);
		return;
	}
	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, packet->bytes);
	entry->last_seen_ns = fresh.last_seen_ns;
}

/* Puts a new address and port at the given places of a UDP packet and mends both checksums. */
static __always_inline void rewrite(struct __sk_buff *skb, __u32 address_at, __u32 port_at, __be32 old_address,
				    __be32 address, __be16 old_port, __be16 port)
{
	const __u32 l4 = sizeof(struct ethhdr) + sizeof(struct iphdr);
	const __u32 check = l4 + offsetof(struct udphdr, check);

	bpf_l4_csum_replace(skb, check, old_address, address, BPF_F_PSEUDO_HDR | BPF_F_MANGLED_0 | 4);
	bpf_l4_csum_replace(skb, check, old_port, port, BPF_F_MANGLED_0 | 2);
	bpf_l3_csum_replace(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, check), old_address, address, 4);
	bpf_skb_store_bytes(skb, address_at, &address, sizeof(address), 0);
	bpf_skb_store_bytes(skb, l4 + port_at, &port, sizeof(port), 0);
}

SEC("tc")
int lb_to_backend(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct lb4_key key = {};
	struct lb4_service *service;
	struct lb4_backend *backend;
	__u32 backend_id = 0;

	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &packet))
		return 0;
	count_legacy(packet.key.proto, packet.bytes);
	if (packet.key.proto != IPPROTO_UDP)
		return 0;
	key.address = packet.key.daddr;
	key.dport = packet.key.dport;
	key.proto = packet.key.proto;
	service = bpf_map_lookup_elem(&lb4_services_v2, &key);
	if (!service || !service->count)
		return 0;
	if (service->flags & SVC_AFFINITY)
		backend_id = by_affinity(service, &packet);
	if (!backend_id && service->flags & SVC_MAGLEV)
		backend_id = by_maglev(service->rev_nat_index, &packet);
	if (!backend_id)
		backend_id = by_chance(service, key, &packet);
	backend = bpf_map_lookup_elem(&lb4_backends_v3, &backend_id);
	if (!backend)
		return 2; /* TC_ACT_SHOT */
	track(&packet, backend, backend_id, service);
	rewrite(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, daddr), offsetof(struct udphdr, dest),
		packet.key.daddr, backend->address, packet.key.dport, backend->port);
	return 0;
}

SEC("tc")
int lb_from_backend(struct __sk_buff *skb)
{
	struct packet packet = {};
	struct lb4_reverse_nat *service;
	struct ct_entry *entry;
	__u16 index;

	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &packet) || packet.key.proto != IPPROTO_UDP)
		return 0;
	entry = bpf_map_lookup_elem(&ct4, &packet.key);
	if (!entry)
		return 0;
	__sync_fetch_and_add(&entry->packets, 1);
	__sync_fetch_and_add(&entry->bytes, packet.bytes);
	index = entry->rev_nat_index;
	service = bpf_map_lookup_elem(&lb4_reverse_nat, &index);
	if (service)
		rewrite(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, saddr), offsetof(struct udphdr, source),
			packet.key.saddr, service->address, packet.key.sport, service->port);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
