// SPDX-License-Identifier: MIT
/* Calls a function of a module: ebpfpy_demo_kfunc_add of testdata/kmod, which returns a + b + 1000.
 *
 * Trigger: BPF_PROG_TEST_RUN; the program returns the sum of the packet's length and 42, plus 1000. `optional` also runs
 * without the module: it returns 7 then. Needs Linux 6.1 (tc programs may call functions of modules).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

extern __u64 ebpfpy_demo_kfunc_add(__u64 a, __u64 b) __ksym;
extern __u64 ebpfpy_demo_kfunc_add___weak(__u64 a, __u64 b) __ksym __weak;

SEC("tc")
int add(struct __sk_buff *skb)
{
	return ebpfpy_demo_kfunc_add(skb->len, 42);
}

SEC("tc")
int optional(struct __sk_buff *skb)
{
	if (!ebpfpy_demo_kfunc_add___weak)
		return 7;
	return ebpfpy_demo_kfunc_add___weak(skb->len, 1);
}
