// SPDX-License-Identifier: MIT
/* Two drivers that have a struct of one name: e1000 and e1000e both define struct e1000_adapter, and differently.
 *
 * Shows: a program on a function of the one driver gets that driver's offsets; a program that is attached to neither
 * cannot know which is meant, and is refused with both listed. Both have a function e1000_configure, too.
 * Trigger: none without the hardware; it is loaded and attached.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct net_device;

struct e1000_adapter {
	struct net_device *netdev;
	unsigned int tx_timeout_count;

} KERNEL_TYPE;

__u32 netdev_offset, size, timeouts;

static __always_inline int look(void)
{
	netdev_offset = bpf_core_field_offset(struct e1000_adapter, netdev);
	size = bpf_core_type_size(struct e1000_adapter);
	return 0;
}

SEC("fentry/e1000:e1000_down")
int BPF_PROG(on_e1000, struct e1000_adapter *adapter)
{
	timeouts = adapter->tx_timeout_count;
	return look();
}

SEC("fentry/e1000e:e1000e_down")
int BPF_PROG(on_e1000e, struct e1000_adapter *adapter)
{
	timeouts = adapter->tx_timeout_count;
	return look();
}

/* Attached to neither. */
SEC("?raw_tp/sys_enter")
int on_neither(void *ctx)
{
	return look();
}

/* Which of the two functions? */
SEC("?fentry/e1000_configure")
int BPF_PROG(on_either, struct e1000_adapter *adapter)
{
	return look();
}
