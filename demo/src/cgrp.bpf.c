/* Storage that hangs on a cgroup (Linux 6.2): task switches and forks by cgroup. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAP_TYPE_CGRP_STORAGE 32 /* a newer word than Debian 12's headers have */

struct kernfs_node {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	struct kernfs_node *kn;
	int level;
} __attribute__((preserve_access_index));

struct css_set {
	struct cgroup *dfl_cgrp;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid;
	struct css_set *cgroups;
} __attribute__((preserve_access_index));

struct cgroup_switches {
	__u64 switches;
	__u64 voluntary;
	__u64 last_ns;
	__u32 last_pid;
	__s32 level;
};

struct {
	__uint(type, MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cgroup_switches);
} cgroup_switches SEC(".maps");

static void *(*const cgrp_storage_get)(void *map, struct cgroup *cgroup, void *value, __u64 flags) = (void *)210;

SEC("tp_btf/sched_switch")
int BPF_PROG(on_cgroup_switch, bool preempt, struct task_struct *prev)
{
	struct cgroup_switches *found;
	struct cgroup *cgroup;

	if (!prev->pid)
		return 0;
	cgroup = prev->cgroups->dfl_cgrp;
	found = cgrp_storage_get(&cgroup_switches, cgroup, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!found)
		return 0;
	__sync_fetch_and_add(&found->switches, 1);
	if (!preempt)
		__sync_fetch_and_add(&found->voluntary, 1);
	found->last_ns = bpf_ktime_get_ns();
	found->last_pid = prev->pid;
	found->level = cgroup->level;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
