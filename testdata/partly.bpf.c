// SPDX-License-Identifier: MIT
/* Three programs, of which only one says in its section what it is attached to.
 *
 * Shows: what `ebpfpy run` leaves out.
 * Trigger: any system call (count_calls).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 calls = 0;

SEC("xdp")
int on_packet(void *ctx)
{
	return 2; /* XDP_PASS */
}

SEC("raw_tp")
int anywhere(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int count_calls(void *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
