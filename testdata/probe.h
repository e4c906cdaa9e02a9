/* SPDX-License-Identifier: MIT
 *
 * What every source here starts with: the kernel's UAPI names, the helpers, and the few parts of kernel
 * structures that several sources read. A structure names only the members that are read: CO-RE finds
 * their real places when the program is loaded.
 */
#ifndef EBPFPY_TESTDATA_PROBE_H
#define EBPFPY_TESTDATA_PROBE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Makes every access to the structure's members a CO-RE relocation. */
#define KERNEL_TYPE __attribute__((preserve_access_index))

#define TASK_COMM_LEN 16

struct mm_struct {
	unsigned long total_vm;
} KERNEL_TYPE;

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	__u64 start_time;
	char comm[TASK_COMM_LEN];
} KERNEL_TYPE;

/* Process id as user space counts it (the kernel's tgid). */
static __always_inline __u32 current_pid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

#endif
