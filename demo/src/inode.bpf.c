/* Storage that hangs on a file. The LSM program counts openings where the kernel lets one attach. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct inode {
	unsigned long i_ino;
} __attribute__((preserve_access_index));

struct file {
	struct inode *f_inode;
} __attribute__((preserve_access_index));

struct file_notes {
	__u64 opened;
	__u64 noted_ns;
	__u64 size_bytes;
	char note[24];
};

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct file_notes);
} file_notes SEC(".maps");

SEC("lsm/file_open")
int BPF_PROG(on_file_open, struct file *file)
{
	struct file_notes *notes = bpf_inode_storage_get(&file_notes, file->f_inode, 0, 0);

	if (notes)
		__sync_fetch_and_add(&notes->opened, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
