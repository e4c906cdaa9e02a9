// SPDX-License-Identifier: MIT
/* Exceptions: a program that throws, with a callback of its own for it and without (Linux 6.7).
 *
 * Shows: a function that only a declaration tag refers to; it has to be linked in all the same.
 * Trigger: running either program with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

extern void bpf_throw(__u64 cookie) __ksym;

__noinline int caught(__u64 cookie)
{
	return (int)cookie + 100;
}

__noinline static int thrower(struct __sk_buff *skb)
{
	if (skb->len)
		bpf_throw(7);
	return 1;
}

SEC("tc")
__attribute__((btf_decl_tag("exception_callback:caught")))
int with_callback(struct __sk_buff *skb)
{
	return thrower(skb) + 1;
}

SEC("tc")
int without_callback(struct __sk_buff *skb)
{
	return thrower(skb) + 1;
}
