/* Values with a spin lock and a timer in them: buckets of tokens that a timer refills. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define CLOCK_MONOTONIC 1
#define REFILL_NS 200000000ULL

struct token_bucket {
	struct bpf_spin_lock lock;
	__u32 tokens;
	__u64 taken;
	__u64 refused;
	__u64 refills;
	struct bpf_timer refill;
	__u64 last_refill_ns;
	char owner[16];
};

struct meter {
	__u64 total;
	struct bpf_spin_lock lock;
	__u32 readings[5];
	__u16 next;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, struct token_bucket);
} token_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct meter);
} meters SEC(".maps");

static int refill(void *map, __u32 *key, struct token_bucket *bucket)
{
	bpf_spin_lock(&bucket->lock);
	bucket->tokens = bucket->tokens + 10 + *key > 100 ? 100 : bucket->tokens + 10 + *key;
	bucket->refills++;
	bpf_spin_unlock(&bucket->lock);
	bucket->last_refill_ns = bpf_ktime_get_ns();
	bpf_timer_start(&bucket->refill, REFILL_NS, 0);
	return 0;
}

static __always_inline void start(struct token_bucket *bucket)
{
	if (!bpf_timer_init(&bucket->refill, &token_buckets, CLOCK_MONOTONIC)) {
		bpf_timer_set_callback(&bucket->refill, refill);
		bpf_timer_start(&bucket->refill, REFILL_NS, 0);
	}
}

/* Run by the loader: takes a token from the bucket, and a reading of a meter, that the packet's first word names. */
SEC("tc")
int take_token(struct __sk_buff *skb)
{
	struct token_bucket *bucket, fresh = { .tokens = 50, .owner = "tenant" };
	__u32 key = 0, slot;
	struct meter *meter;

	bpf_skb_load_bytes(skb, 0, &key, sizeof(key));
	fresh.owner[6] = '-';
	fresh.owner[7] = 'a' + key % 26;
	bucket = bpf_map_lookup_elem(&token_buckets, &key);
	if (!bucket) {
		bpf_map_update_elem(&token_buckets, &key, &fresh, BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&token_buckets, &key);
		if (!bucket)
			return 0;
		start(bucket);
	}
	bpf_spin_lock(&bucket->lock);
	if (bucket->tokens) {
		bucket->tokens--;
		bucket->taken++;
	} else {
		bucket->refused++;
	}
	bpf_spin_unlock(&bucket->lock);
	slot = key & 3;
	meter = bpf_map_lookup_elem(&meters, &slot);
	if (!meter)
		return 0;
	bpf_spin_lock(&meter->lock);
	meter->total += key;
	meter->readings[meter->next < 5 ? meter->next : 0] = key * 7;
	meter->next = meter->next < 4 ? meter->next + 1 : 0;
	bpf_spin_unlock(&meter->lock);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
