// SPDX-License-Identifier: MIT
/* References to symbols that the object does not define: a kconfig variable, a kernel variable, a kernel function.
 *
 * Trigger: any system call, once a loader resolves them. `plain` needs none of them.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

extern int LINUX_KERNEL_VERSION __kconfig;
extern const void init_task __ksym;
extern void bpf_rcu_read_lock(void) __ksym __weak;

__u64 version;
__u64 address;

SEC("raw_tp/sys_enter")
int uses_kconfig(void *ctx)
{
	version = LINUX_KERNEL_VERSION;
	return 0;
}

SEC("raw_tp/sys_enter")
int uses_ksym(void *ctx)
{
	address = (__u64)&init_task;
	return 0;
}

SEC("raw_tp/sys_enter")
int uses_kfunc(void *ctx)
{
	bpf_rcu_read_lock();
	return 0;
}

SEC("raw_tp/sys_enter")
int plain(void *ctx)
{
	return 0;
}
