// SPDX-License-Identifier: MIT
/* Reads the arguments of static probes of user space.
 *
 * Shows: USDT. Trigger: calling the function in which the probe is (tests/kernel/test_link_usdt.py compiles one).
 */
#include "probe.h"
#define BPF_USDT_MAX_SPEC_CNT 4
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __s64);
} seen SEC(".maps");

static __always_inline void store(__u32 index, __s64 value)
{
	bpf_map_update_elem(&seen, &index, &value, BPF_ANY);
}

SEC("?usdt") int on_probe(struct pt_regs *ctx)
{
	long one = 0, two = 0, three = 0;

	bpf_usdt_arg(ctx, 0, &one);
	bpf_usdt_arg(ctx, 1, &two);
	bpf_usdt_arg(ctx, 2, &three);
	store(0, one);
	store(1, two);
	store(2, three);
	store(3, bpf_usdt_arg_cnt(ctx));
	store(4, bpf_usdt_cookie(ctx));
	return 0;
}
