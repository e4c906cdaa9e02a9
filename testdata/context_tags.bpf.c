// SPDX-License-Identifier: MIT
/* Global functions whose parameter is tagged as the program's context ("arg:ctx"), whatever its type says.
 *
 * Shows: what kernels since 6.8 understand by themselves; for older ones the loader has to give such a parameter the
 * type that they want. Trigger: running `classify` and `inspect` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#define CONTEXT __attribute__((btf_decl_tag("arg:ctx")))

struct pt_regs { /* complete: the kernel wants no mere declaration */
	unsigned long first;
};

/* For tc and XDP alike: the context is what the program's type says. */
__noinline int first_word(void *ctx CONTEXT, int fallback)
{
	int word = *(volatile __u32 *)ctx;

	return word ? 1 : fallback;
}

__noinline int of_registers(struct pt_regs *ctx CONTEXT)
{
	return bpf_get_func_ip(ctx) ? 1 : 2;
}

__noinline int of_arguments(__u64 *ctx CONTEXT)
{
	return ctx[1] ? 3 : 4;
}

__noinline int of_event(void *ctx CONTEXT)
{
	__u64 stack[4];

	return bpf_get_stack(ctx, stack, sizeof(stack), 0);
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	return first_word(skb, 7);
}

SEC("xdp")
int inspect(struct xdp_md *ctx)
{
	return first_word(ctx, 8);
}

SEC("kprobe/do_nanosleep")
int probe(struct pt_regs *ctx)
{
	return of_registers(ctx);
}

SEC("raw_tp/sys_enter")
int enter(__u64 *ctx)
{
	return of_arguments(ctx);
}

SEC("perf_event")
int sample(void *ctx)
{
	return of_event(ctx);
}
