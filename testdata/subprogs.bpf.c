// SPDX-License-Identifier: MIT
/* Subprograms: what a loader has to link into each program.
 *
 * Shows: static and global functions in .text, calls from one to another, the same function used by two programs,
 * two programs in one section, a static callback whose address is taken (bpf_loop, bpf_for_each_map_elem), a CO-RE
 * relocation and a map reference inside a subprogram, an optional section ("?"), mutual recursion (which the
 * verifier refuses, in the optional program) and a function that nobody calls.
 * Trigger: any system call; results in .bss.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

__u64 first_result;
__u64 second_result;
__u64 loop_result;
__u64 total_result;

/* Static, called by a static: the assembler resolves the call inside .text by itself. */
static __noinline __u64 twice(__u64 value)
{
	__u64 result = value * 2;

	barrier_var(result);
	return result;
}

/* Static, called from programs: a relocation against the section symbol of .text. */
static __noinline __u64 twice_and_one(__u64 value)
{
	__u64 result = twice(value);

	barrier_var(result);
	return result + 1;
}

/* Global: a relocation against the function's own symbol; CO-RE inside. */
__noinline int parent_of_current(int fallback)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	int tgid = BPF_CORE_READ(task, real_parent, tgid);

	return tgid ? tgid : fallback;
}

/* Global, calls a global and a static, uses a map. */
__noinline int nested(int key)
{
	__u32 index = key & 3;
	__u64 *value = bpf_map_lookup_elem(&table, &index);

	if (!value)
		return 0;
	*value += 1;
	return parent_of_current(key) + (int)twice(*value);
}

/* Nobody calls it: it must not be linked into any program. */
__noinline int never_called(int value)
{
	barrier_var(value);
	return value + 99;
}

struct loop_state {
	__u64 sum;
};

static long add_index(__u64 index, void *data)
{
	struct loop_state *state = data;

	state->sum += twice(index);
	return 0;
}

struct bpf_map;

static long add_value(struct bpf_map *map, __u32 *key, __u64 *value, struct loop_state *state)
{
	state->sum += *value;
	return 0;
}

SEC("raw_tp/sys_enter")
int first(void *ctx)
{
	first_result = twice_and_one(20);
	return nested(1);
}

SEC("raw_tp/sys_enter")
int second(void *ctx)
{
	second_result = twice_and_one(30) + parent_of_current(5);
	return 0;
}

SEC("raw_tp/sys_exit")
int callbacks(void *ctx)
{
	struct loop_state state = {};

	bpf_loop(10, add_index, &state, 0);
	loop_result = state.sum; /* 0 + 2 + ... + 18 = 90 */
	state.sum = 0;
	bpf_for_each_map_elem(&table, add_value, &state, 0);
	total_result = state.sum;
	return 0;
}

/* No subprogram at all, in the same section. */
SEC("raw_tp/sys_exit")
int alone(void *ctx)
{
	return 0;
}

int pong(int depth);

__noinline int ping(int depth)
{
	return depth > 0 ? pong(depth - 1) + 1 : 0;
}

__noinline int pong(int depth)
{
	return depth > 0 ? ping(depth - 1) + 2 : 0;
}

SEC("?raw_tp/sched_switch")
int recursive(void *ctx)
{
	return ping(current_pid() & 7);
}
