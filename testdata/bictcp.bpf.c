// SPDX-License-Identifier: MIT
/* A structure of a module that vmlinux has a namesake of, read by a member that both have.
 *
 * Shows: struct bictcp is TCP cubic's in vmlinux, with `cnt` at another offset; the prototype of our own module's
 * ebpfpy_demo_clash(struct bictcp *, int) tells which one is meant.
 * Trigger: `echo 21 > /proc/ebpfpy_demo`. Then clash_cnt is what the function returned: clash_ret.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct bictcp {
	__u32 cnt;
} KERNEL_TYPE;

__u32 clash_cnt, clash_ret;

SEC("fexit/ebpfpy_demo:ebpfpy_demo_clash")
int BPF_PROG(clash_count, struct bictcp *own, int value, int ret)
{
	clash_cnt = BPF_CORE_READ(own, cnt);
	clash_ret = ret;
	return 0;
}
