// SPDX-License-Identifier: MIT
/* Programs that the verifier refuses, for what it says then. None of them loads. */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

SEC("?tc")
int past_the_end(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data;

	return *data; /* without a look at data_end */
}

static __noinline int in_a_subprogram(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data;

	return data[7];
}

SEC("?tc")
int deeper(struct __sk_buff *skb)
{
	return in_a_subprogram(skb) + 1;
}

/* Walks a loop until the end of it is wrong: a log of more than 64 KiB. */
SEC("?tc")
int long_log(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data;
	volatile __u32 sum = 0;

	for (int i = 0; i < 2000; i++)
		sum += i;
	return *data + sum;
}
