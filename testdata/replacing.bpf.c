// SPDX-License-Identifier: MIT
/* Programs that attach to functions of another BPF program: `replaced.bpf.c`.
 *
 * Trigger: running `classify` there; counters in .bss.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct sk_buff;

__u64 entered, left;
int result;

SEC("?freplace/verdict")
int instead(struct __sk_buff *skb)
{
	return skb->len + 1000;
}

SEC("?fentry/classify")
int BPF_PROG(on_entry, struct sk_buff *skb)
{
	entered++;
	return 0;
}

SEC("?fexit/classify")
int BPF_PROG(on_exit, struct sk_buff *skb, int ret)
{
	left++;
	result = ret;
	return 0;
}
