/* What the packet programs share: where the headers of an IPv4 packet begin. */
#ifndef DEMO_PACKET_H
#define DEMO_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum tcp_state {
	TCP_NONE = 0,
	TCP_SYN_SEEN = 1,
	TCP_ESTABLISHED = 2,
	TCP_FIN_SEEN = 3,
	TCP_RESET = 4,
};

struct flow_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

/* <linux/icmp.h> drags in the C library's socket headers. */
struct icmp_echo {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 id;
	__be16 sequence;
};

struct packet {
	struct flow_key key;
	__u32 bytes;
	__u16 window;
	__u8 ttl;
	enum tcp_state state;
};

static __always_inline enum tcp_state state_of(const struct tcphdr *tcp)
{
	if (tcp->rst)
		return TCP_RESET;
	if (tcp->fin)
		return TCP_FIN_SEEN;
	return tcp->syn ? TCP_SYN_SEEN : TCP_ESTABLISHED;
}

/* Fills *packet from the frame between data and end. Returns 0, or -1 for anything but unfragmented IPv4. */
static __always_inline int parse(void *data, void *end, struct packet *packet)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	void *next = (void *)(ip + 1);

	if (next > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return -1;
	packet->key.saddr = ip->saddr;
	packet->key.daddr = ip->daddr;
	packet->key.proto = ip->protocol;
	packet->bytes = bpf_ntohs(ip->tot_len);
	packet->ttl = ip->ttl;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = next;

		if ((void *)(tcp + 1) > end)
			return -1;
		packet->key.sport = tcp->source;
		packet->key.dport = tcp->dest;
		packet->window = bpf_ntohs(tcp->window);
		packet->state = state_of(tcp);
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = next;

		if ((void *)(udp + 1) > end)
			return -1;
		packet->key.sport = udp->source;
		packet->key.dport = udp->dest;
	} else if (ip->protocol == IPPROTO_ICMP) {
		struct icmp_echo *icmp = next;

		if ((void *)(icmp + 1) > end)
			return -1;
		packet->key.sport = icmp->id;
	}
	return 0;
}

#endif
