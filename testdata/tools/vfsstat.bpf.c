// SPDX-License-Identifier: MIT
/* How often the kernel reads, writes, opens and deletes files.
 *
 * Shows: counters in a global array that is read without a system call, by fentry or by kprobes: the user chooses which of
 * the two are loaded. Not vfs_fsync: compilers put it into its callers, and a probe on it counts nothing.
 * Trigger: reading and writing files.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

enum operation {
	READ,
	WRITE,
	UNLINK,
	OPEN,
	OPERATIONS,
};

__u64 counts[OPERATIONS];
enum operation unused_operation;

const volatile __u32 only_pid = 0; /* 0: all */

static __always_inline int count(enum operation operation)
{
	if (!only_pid || only_pid == current_pid())
		__sync_fetch_and_add(&counts[operation], 1);
	return 0;
}

#define COUNTS(function, operation)                                                                            \
	SEC("?fentry/" #function) int BPF_PROG(fentry_##function)                                              \
	{                                                                                                      \
		return count(operation);                                                                       \
	}                                                                                                      \
	SEC("?kprobe/" #function) int BPF_KPROBE(kprobe_##function)                                            \
	{                                                                                                      \
		return count(operation);                                                                       \
	}

COUNTS(vfs_read, READ)
COUNTS(vfs_write, WRITE)
COUNTS(vfs_unlink, UNLINK)
COUNTS(vfs_open, OPEN)
