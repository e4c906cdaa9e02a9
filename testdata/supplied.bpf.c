// SPDX-License-Identifier: MIT
/* What the kernel supplies, in every form: options of its configuration, facts, symbols, variables, functions.
 *
 * Trigger: any system call; the results are global variables. Kernel functions are weak: kernels without them (before
 * 6.2) run the rest. The option CONFIG_EBPFPY_NONE does not exist and is weak: it reads as 0.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern char CONFIG_INET __kconfig;
extern char CONFIG_DEFAULT_HOSTNAME[32] __kconfig;
extern int CONFIG_EBPFPY_NONE __kconfig __weak;

extern const int bpf_prog_active __ksym;
extern const void ebpfpy_no_such_symbol __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern void ebpfpy_no_such_function(void) __ksym __weak;

__u64 runs;
int version, hz, net, none;
char inet;
_Bool bpf_syscall, wrapper, cookie;
char hostname[32];
__u64 no_symbol, has_lock, called, no_function;
int active = -1;

SEC("raw_tp/sys_enter")
int options(void *ctx)
{
	version = LINUX_KERNEL_VERSION;
	wrapper = LINUX_HAS_SYSCALL_WRAPPER;
	cookie = LINUX_HAS_BPF_COOKIE;
	hz = CONFIG_HZ;
	bpf_syscall = CONFIG_BPF_SYSCALL;
	net = CONFIG_NET;
	inet = CONFIG_INET;
	none = CONFIG_EBPFPY_NONE;
	for (int i = 0; i < sizeof(hostname); i++)
		hostname[i] = CONFIG_DEFAULT_HOSTNAME[i];
	runs++;
	return 0;
}

SEC("raw_tp/sys_enter")
int variable(void *ctx)
{
	const int *value = bpf_this_cpu_ptr(&bpf_prog_active);

	active = *value;
	no_symbol = (__u64)&ebpfpy_no_such_symbol;
	return 0;
}

SEC("raw_tp/sys_enter")
int function(void *ctx)
{
	if (bpf_rcu_read_lock && bpf_rcu_read_unlock) {
		has_lock = 1;
		bpf_rcu_read_lock();
		called++;
		bpf_rcu_read_unlock();
	}
	if (ebpfpy_no_such_function) {
		no_function = 1;
		ebpfpy_no_such_function();
	}
	return 0;
}
