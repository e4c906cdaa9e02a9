// SPDX-License-Identifier: MIT
/* Counts packets and bytes by protocol as they arrive and leave, and drops those from networks on a list.
 *
 * Shows: XDP and traffic control in one object, reading packets, per-CPU counters, a longest-prefix-match trie that user
 * space fills. Trigger: packets.
 */
#include "../probe.h"
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "GPL";

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct network {
	__u32 bits;
	__u8 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32); /* protocol of IPv4 */
	__type(value, struct counter);
} arrived SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct counter);
} left SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u64); /* packets dropped */
} dropped SEC(".maps");

static __always_inline struct iphdr *ip_of(void *data, void *end)
{
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return 0;
	return ip;
}

static __always_inline void count(void *map, __u32 protocol, __u64 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(map, &protocol);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

SEC("xdp")
int arrive(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct network network = { .bits = 32 };
	struct iphdr *ip = ip_of(data, end);
	__u64 *drops;

	if (!ip)
		return XDP_PASS;
	__builtin_memcpy(network.address, &ip->saddr, sizeof(network.address));
	drops = bpf_map_lookup_elem(&dropped, &network);
	if (drops) {
		__sync_fetch_and_add(drops, 1);
		return XDP_DROP;
	}
	count(&arrived, ip->protocol, end - data);
	return XDP_PASS;
}

SEC("tc")
int leave(struct __sk_buff *skb)
{
	struct iphdr *ip = ip_of((void *)(long)skb->data, (void *)(long)skb->data_end);

	if (ip)
		count(&left, ip->protocol, skb->len);
	return TC_ACT_OK;
}
