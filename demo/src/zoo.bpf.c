/* One of every shape that a C value can have, filled with varied numbers by a program that the loader runs. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

typedef __u64 nanoseconds_t;
typedef unsigned char mac_t[6];

enum colour {
	COLOUR_NONE = 0,
	COLOUR_RED = 1,
	COLOUR_GREEN = 2,
	COLOUR_BLUE = 4,
	COLOUR_ALL = 7,
};

enum temperature {
	FREEZING = -40,
	COLD = -1,
	MILD = 18,
	HOT = 35,
};

struct point {
	__s32 x;
	__s32 y;
};

struct bits {
	__u32 low : 3;
	__u32 across : 13;
	__s32 signed_five : 5;
	__u32 : 2;
	enum colour colour : 4;
	__u32 last : 5;
	__u64 wide : 37;
	__u64 rest : 27;
	__u8 flag_a : 1;
	__u8 flag_b : 1;
	__s8 nibble : 4;
	bool truth : 1;
};

struct packed {
	__u8 kind;
	__u32 unaligned;
	__u16 after;
	__u64 last;
} __attribute__((packed));

struct reading {
	float ratio;
	double share;
	double history[2];
	__u64 taken_ns;
};

struct zoo_key {
	__u32 id;
	enum colour colour;
	char label[8];
};

struct animal {
	__u8 u8;
	__s8 s8;
	__u16 u16;
	__s16 s16;
	__u32 u32;
	__s32 s32;
	__u64 u64;
	__s64 s64;
	__be16 port_be;
	__be32 address_be;
	bool truth;
	char letter;
	char name[16];
	char unterminated[4];
	mac_t mac;
	enum colour colour;
	enum temperature temperature;
	nanoseconds_t age;
	unsigned __int128 huge;
	__int128 huge_signed;
	struct bits bits;
	struct packed packed;
	union {
		__u32 as_number;
		__u8 as_bytes[4];
		struct {
			__u16 low;
			__u16 high;
		};
	};
	union {
		__u64 raw;
		struct point where;
	} tagged;
	struct {
		__u32 depth;
		struct {
			__u16 inner;
			char tag[6];
		} nested;
	};
	struct point path[3];
	__s16 matrix[2][3];
	__u8 cube[2][2][2];
	struct {
		__u8 on;
		__u16 level[2];
	} lamps[2];
	void *pointer;
	int (*callback)(void *context);
	struct point *next;
	const volatile __u32 qualified;
	__u8 ipv6[16];
	__u8 none[0];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct zoo_key);
	__type(value, struct animal);
} type_zoo SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16);
	__type(key, __u16);
	__type(value, struct bits);
} percpu_bits SEC(".maps");

/* Apart, because bpftool prints no floating point and breaks off at the first. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u16);
	__type(value, struct reading);
} float_readings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, struct animal);
} zoo_cages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct point);
	__type(value, enum temperature);
} weather SEC(".maps");

/* Globals of every shape as well. */
const volatile struct point home = { 52, 13 };
const volatile enum colour favourite = COLOUR_BLUE;
__s16 offsets[2][4] = { { -1, 2, -3, 4 }, { 5, -6, 7, -8 } };
struct bits default_bits = { .low = 5, .across = 4097, .signed_five = -7, .colour = COLOUR_GREEN, .wide = 1ULL << 36 };
/* Volatile, or else the compiler puts it into a section of mergeable constants, which its BTF then misplaces. */
const volatile __s32 degrees[4] = { FREEZING, COLD, MILD, HOT };
char banner[24] = "type zoo \xe2\x9c\x93";
__u64 filled;
struct animal last_animal;

#define RANDOM64() ((__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32())

static __always_inline void fill_bits(struct bits *bits, __u32 chance)
{
	bits->low = chance;
	bits->across = chance >> 3;
	bits->signed_five = chance >> 7;
	bits->colour = chance >> 11 & 7;
	bits->last = chance >> 5;
	bits->wide = (__u64)chance * 977;
	bits->rest = chance >> 2;
	bits->flag_a = chance;
	bits->flag_b = chance >> 1;
	bits->nibble = chance >> 4;
	bits->truth = chance >> 9 & 1;
}

static __always_inline void fill_numbers(struct animal *animal, __u32 chance)
{
	__u64 wide = RANDOM64();

	animal->u8 = chance;
	animal->s8 = chance >> 8;
	animal->u16 = chance;
	animal->s16 = chance >> 12;
	animal->u32 = chance;
	animal->s32 = (__s32)wide;
	animal->u64 = wide;
	animal->s64 = (__s64)RANDOM64();
	animal->port_be = chance >> 3;
	animal->address_be = 0x0a | chance << 8;
	animal->truth = chance & 1;
	animal->letter = 'a' + chance % 26;
	animal->age = bpf_ktime_get_ns();
	animal->huge = (unsigned __int128)wide << 64 | RANDOM64();
	animal->huge_signed = -(__int128)wide;
}

static __always_inline void fill_shapes(struct animal *animal, __u32 chance, __u32 id)
{
	__builtin_memcpy(animal->name, "animal no. ?", 13);
	animal->name[11] = '0' + id % 10;
	__builtin_memcpy(animal->unterminated, "FULL", 4);
	animal->mac[0] = 2;
	animal->mac[4] = chance >> 8;
	animal->mac[5] = chance;
	animal->colour = chance & 7; /* 3, 5 and 6 have no name */
	animal->temperature = degrees[chance & 3];
	animal->packed.kind = id;
	animal->packed.unaligned = chance;
	animal->packed.after = chance >> 16;
	animal->packed.last = ~0ULL - id;
	animal->as_number = chance;
	animal->tagged.where.x = -(__s32)(chance & 1023);
	animal->tagged.where.y = chance & 4095;
	animal->depth = id;
	animal->nested.inner = chance;
	__builtin_memcpy(animal->nested.tag, "tag", 4);
	for (int i = 0; i < 3; i++) {
		animal->path[i].x = (__s32)((chance >> i) % 1000);
		animal->path[i].y = -i;
		animal->matrix[0][i] = chance >> i;
		animal->matrix[1][i] = -(__s16)(chance >> (i + 3));
	}
	animal->cube[1][0][1] = chance;
	animal->cube[0][1][0] = chance >> 8;
	animal->lamps[0].on = chance & 1;
	animal->lamps[1].level[0] = chance >> 4;
	animal->lamps[1].level[1] = chance >> 6;
	*(__u64 *)&animal->pointer = 0xffff888000000000ULL | chance;
	*(__u64 *)&animal->callback = 0xffffffff81000000ULL | (chance & 0xffffff);
	*(__u32 *)&animal->qualified = id * 1000;
	animal->ipv6[0] = 0x20;
	animal->ipv6[1] = 0x01;
	animal->ipv6[2] = 0x0d;
	animal->ipv6[3] = 0xb8;
	animal->ipv6[15] = id;
}

/* BPF has no floating point, so the bits are put together by hand. */
static __always_inline void fill_floats(__u16 key, __u32 chance)
{
	struct reading reading = { .taken_ns = bpf_ktime_get_ns() };

	*(__u32 *)&reading.ratio = 0x3f000000 | (chance & 0x7fffff); /* 0.5 to 1 */
	*(__u64 *)&reading.share = 0xc010000000000000ULL | (__u64)chance << 20; /* -4 to -8 */
	*(__u64 *)&reading.history[0] = key ? 0x3fb999999999999aULL : 0x7ff8000000000000ULL; /* 0.1, or not a number */
	*(__u64 *)&reading.history[1] = key & 1 ? 0x7ff0000000000000ULL : 0x0000000000000001ULL; /* infinite, denormal */
	bpf_map_update_elem(&float_readings, &key, &reading, BPF_ANY);
}

SEC("tc")
int fill_zoo(struct __sk_buff *skb)
{
	struct animal *animal;
	struct zoo_key key = { .label = "pen" };
	struct point where = {};
	struct bits bits = {};
	enum temperature now;
	__u32 id = 0, slot, chance = bpf_get_prandom_u32();
	__u16 small;

	bpf_skb_load_bytes(skb, 0, &id, sizeof(id));
	key.id = id;
	key.colour = id & 7;
	key.label[3] = 'a' + id % 26;
	slot = id % 3;
	animal = bpf_map_lookup_elem(&zoo_cages, &slot);
	if (!animal)
		return 0;
	fill_bits(&animal->bits, chance);
	fill_numbers(animal, chance);
	fill_shapes(animal, chance, id);
	bpf_map_update_elem(&type_zoo, &key, animal, BPF_ANY);
	small = id % 5;
	fill_bits(&bits, chance >> 1);
	bpf_map_update_elem(&percpu_bits, &small, &bits, BPF_ANY);
	fill_floats(small, chance);
	where.x = (__s32)(id % 4) - 2;
	where.y = -(__s32)(id % 2);
	now = animal->temperature;
	bpf_map_update_elem(&weather, &where, &now, BPF_ANY);
	filled++;
	last_animal.u32 = chance;
	last_animal.age = animal->age;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
