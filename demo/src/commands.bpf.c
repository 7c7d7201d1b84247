/* A user ring buffer (Linux 6.1): the loader writes commands, a program drains some of them now and then. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum verb {
	VERB_SET = 1,
	VERB_ADD = 2,
	VERB_CLEAR = 3,
};

struct command {
	enum verb verb;
	__u32 slot;
	__u64 number;
};

struct register_file {
	__u64 number;
	__u64 commands;
	enum verb last_verb;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct register_file);
} registers SEC(".maps");

static long obey(struct bpf_dynptr *record, void *context)
{
	const struct command *command = bpf_dynptr_data(record, 0, sizeof(*command));
	struct register_file *target;
	__u32 slot;

	if (!command)
		return 1;
	slot = command->slot & 15;
	target = bpf_map_lookup_elem(&registers, &slot);
	if (!target)
		return 1;
	if (command->verb == VERB_ADD)
		target->number += command->number;
	else
		target->number = command->verb == VERB_SET ? command->number : 0;
	target->commands++;
	target->last_verb = command->verb;
	return ++*(__u32 *)context >= 4; /* leave the rest for the next time */
}

SEC("tc")
int drain_commands(struct __sk_buff *skb)
{
	__u32 done = 0;

	bpf_user_ringbuf_drain(&commands, obey, &done, 0);
	return done;
}

char LICENSE[] SEC("license") = "GPL";
