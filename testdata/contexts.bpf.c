// SPDX-License-Identifier: MIT
/* Arguments by name: every struct between the marks is what `ebpfpy btf context SECTION` prints for the kernels of the
 * tests, and the tests compare it with what it prints for theirs.
 *
 * Shows: fexit of a module's function, with its result; numbers smaller than a slot; an argument that is a struct by
 * value, read by its accessor; a tracepoint, whose arguments have names only in functions that the kernel makes for it.
 * Trigger: `echo 21 > /proc/ebpfpy_demo`: value 21, ret 43. getuid() of user 1234: from_kuid_munged gets kuid 1234.
 * A context switch: prev and next differ.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

typedef unsigned int uid_t;
typedef struct {
	uid_t val;
} kuid_t;
typedef _Bool bool;

/* begin */
/* fexit/ebpfpy_demo:ebpfpy_demo_poke: int ebpfpy_demo_poke(struct ebpfpy_demo_state *target, int value) */
struct ebpfpy_demo_state;

struct fexit_ebpfpy_demo_poke {
	struct ebpfpy_demo_state *target;
	int value __attribute__((aligned(8)));
	int ret __attribute__((aligned(8)));
};
/* end */

__s64 poked_value, poked_ret;

SEC("fexit/ebpfpy_demo:ebpfpy_demo_poke")
int poked(struct fexit_ebpfpy_demo_poke *ctx)
{
	poked_value = ctx->value;
	poked_ret = ctx->ret;
	return 0;
}

/* begin */
/* fexit/from_kuid_munged: uid_t from_kuid_munged(struct user_namespace *targ, kuid_t kuid) */
struct user_namespace;

struct fexit_from_kuid_munged {
	struct user_namespace *targ;
	unsigned long long kuid[1]; /* kuid_t: fexit_from_kuid_munged__kuid(ctx) */
	uid_t ret __attribute__((aligned(8)));
};

static inline __attribute__((always_inline, unused)) kuid_t fexit_from_kuid_munged__kuid(const struct fexit_from_kuid_munged *ctx)
{
	union { unsigned long long slots[1]; kuid_t value; } it = { .slots = {
		*(const volatile unsigned long long *)((const char *)ctx + 8),
	} };
	return it.value;
}
/* end */

__u64 wanted_pid, seen_kuid, seen_uid;

SEC("fexit/from_kuid_munged")
int mapped(struct fexit_from_kuid_munged *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != wanted_pid)
		return 0;
	seen_kuid = fexit_from_kuid_munged__kuid(ctx).val;
	seen_uid = ctx->ret;
	return 0;
}

/* begin */
/* tp_btf/sched_switch: tracepoint sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state) */
struct task_struct;

struct tp_btf_sched_switch {
	bool preempt __attribute__((aligned(8)));
	struct task_struct *prev;
	struct task_struct *next;
	unsigned int prev_state __attribute__((aligned(8)));
};
/* end */

__u64 switches, switches_to_itself, states;

SEC("tp_btf/sched_switch")
int switched(struct tp_btf_sched_switch *ctx)
{
	switches++;
	switches_to_itself += ctx->prev == ctx->next;
	states |= ctx->prev_state;
	return 0;
}
