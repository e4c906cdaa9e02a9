// SPDX-License-Identifier: MIT
/* A program whose global functions `replacing.bpf.c` replaces and traces.
 *
 * Trigger: running `classify` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

__noinline int verdict(struct __sk_buff *skb)
{
	volatile int result = 1;

	return result + (skb->len == 0);
}

SEC("tc")
int classify(struct __sk_buff *skb)
{
	return verdict(skb) + 10;
}
