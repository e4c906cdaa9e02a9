// SPDX-License-Identifier: MIT
/* struct_ops of a module: functions of testdata/kmod that programs implement (Linux 6.9).
 *
 * Shows: a structure that only a module has, with a structure in a structure; optional members and maps; members that no
 * kernel has; one program in several maps; a pointer to the module's own type, read through CO-RE.
 * Trigger: echo 21 > /proc/ebpfpy_demo.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct ebpfpy_demo_state {
	__u64 magic;
	__u32 hits;
} KERNEL_TYPE;

struct ebpfpy_demo_scale {
	int divisor;
	int factor;
	int ebpfpy_no_such_member;
};

struct ebpfpy_demo_tuning {
	int offset;
	struct ebpfpy_demo_scale scale;
};

/* In another order than the module's, and with members that it does not have. */
struct ebpfpy_demo_ops___ours {
	char name[16];
	int (*inspect)(struct ebpfpy_demo_state *state, int result);
	int (*transform)(int value);
	int (*ebpfpy_no_such_function)(int value);
	__u64 ebpfpy_no_such_member;
	struct ebpfpy_demo_tuning tuning;
	__u32 limit;
	int (*reserved)(void);
};

__u64 transforms, inspections, magic;
__u32 hits;
int last;

SEC("struct_ops")
int BPF_PROG(twice, int value)
{
	__sync_fetch_and_add(&transforms, 1);
	return 2 * value;
}

SEC("struct_ops")
int BPF_PROG(negated, int value)
{
	return -value;
}

SEC("struct_ops")
int BPF_PROG(look, struct ebpfpy_demo_state *state, int result)
{
	__sync_fetch_and_add(&inspections, 1);
	magic = state->magic;
	hits = state->hits;
	last = result;
	return 0;
}

/* For a member that no kernel has: loaded only if it is used. */
SEC("struct_ops")
int BPF_PROG(future, int value)
{
	return value;
}

/* For a member that no program may implement. */
SEC("struct_ops")
int BPF_PROG(forbidden)
{
	return 0;
}

SEC(".struct_ops.link")
struct ebpfpy_demo_ops___ours doubling = {
	.name = "doubling",
	.transform = (void *)twice,
	.inspect = (void *)look,
	.tuning = { .scale = { .factor = 3, .divisor = 1 }, .offset = 7 },
};

SEC("?.struct_ops.link")
struct ebpfpy_demo_ops___ours negating = {
	.name = "negating",
	.transform = (void *)negated,
	.tuning = { .scale = { .factor = 1, .divisor = 1 } },
};

SEC("?.struct_ops")
struct ebpfpy_demo_ops___ours by_map = {
	.name = "by_map",
	.transform = (void *)twice,
	.tuning = { .scale = { .factor = 1, .divisor = 2 }, .offset = 1 },
	.limit = 50,
};

SEC("?.struct_ops.link")
struct ebpfpy_demo_ops___ours from_the_future = {
	.name = "future",
	.transform = (void *)twice,
	.ebpfpy_no_such_function = (void *)future,
	.tuning = { .scale = { .factor = 1, .divisor = 1 } },
};

SEC("?.struct_ops.link")
struct ebpfpy_demo_ops___ours not_allowed = {
	.name = "not allowed",
	.transform = (void *)twice,
	.reserved = (void *)forbidden,
	.tuning = { .scale = { .factor = 1, .divisor = 1 } },
};
