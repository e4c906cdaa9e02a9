// SPDX-License-Identifier: MIT
/* Watches the module veth: a packet sent into one end of a pair.
 *
 * Shows: fexit on module:function, and a CO-RE chain that starts in the module's BTF (struct veth_priv) and goes on
 * in vmlinux's (struct net_device).
 * Trigger: a UDP datagram sent over a veth device; peer_ifindex is then the interface index of the other end.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define IFNAMSIZ 16
#define NETDEV_ALIGN 32

struct net_device {
	int ifindex;
	char name[IFNAMSIZ];
} KERNEL_TYPE;

struct veth_priv {
	struct net_device *peer;
} KERNEL_TYPE;

struct sk_buff {
	unsigned int len;
} KERNEL_TYPE;

struct event {
	__u32 pid;
	__s32 ret; /* NETDEV_TX_* */
	__s32 ifindex;
	__s32 peer_ifindex;
	__u32 len; /* bytes of the packet, its link header included */
	char name[IFNAMSIZ];
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

SEC("fexit/veth:veth_xmit")
int BPF_PROG(veth_sent, struct sk_buff *skb, struct net_device *dev, int ret)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	/* The driver's own part follows struct net_device. */
	__u64 size = (bpf_core_type_size(struct net_device) + NETDEV_ALIGN - 1) & ~(__u64)(NETDEV_ALIGN - 1);
	struct veth_priv *priv = (void *)dev + size;

	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = current_pid();
	event->ret = ret;
	event->ifindex = dev->ifindex;
	event->peer_ifindex = BPF_CORE_READ(priv, peer, ifindex);
	event->len = BPF_CORE_READ(skb, len);
	BPF_CORE_READ_STR_INTO(&event->name, dev, name);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
