// SPDX-License-Identifier: MIT
/* A map of every type that Linux 6.1 has, with the types of keys and values given wherever that can be written.
 *
 * Shows: which of these types reach the kernel. Trigger: running `touch` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct prefix {
	__u32 length;
	__u8 address[4];
};

struct value {
	__u64 count;
	__u32 last;
	__u32 flags;
};

#define MAP(map_name, map_type, entries, flags, key_type, value_type)                                          \
	struct {                                                                                               \
		__uint(type, map_type);                                                                        \
		__uint(max_entries, entries);                                                                  \
		__uint(map_flags, flags);                                                                      \
		__type(key, key_type);                                                                         \
		__type(value, value_type);                                                                     \
	} map_name SEC(".maps")

MAP(hash, BPF_MAP_TYPE_HASH, 8, 0, __u64, struct value);
MAP(array, BPF_MAP_TYPE_ARRAY, 4, 0, __u32, struct value);
MAP(programs, BPF_MAP_TYPE_PROG_ARRAY, 4, 0, __u32, __u32);
MAP(perf, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 0, __u32, __u32);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, 8, 0, __u64, struct value);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0, __u32, struct value);
MAP(stacks, BPF_MAP_TYPE_STACK_TRACE, 8, 0, __u32, __u64[16]);
MAP(cgroups, BPF_MAP_TYPE_CGROUP_ARRAY, 4, 0, __u32, __u32);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, 64, 0, __u64, struct value);
MAP(lru_percpu, BPF_MAP_TYPE_LRU_PERCPU_HASH, 64, 0, __u64, struct value);
MAP(trie, BPF_MAP_TYPE_LPM_TRIE, 8, BPF_F_NO_PREALLOC, struct prefix, struct value);
MAP(devices, BPF_MAP_TYPE_DEVMAP, 4, 0, __u32, __u32);
MAP(devices_by_hash, BPF_MAP_TYPE_DEVMAP_HASH, 4, 0, __u32, struct bpf_devmap_val);
MAP(cpus, BPF_MAP_TYPE_CPUMAP, 1, 0, __u32, struct bpf_cpumap_val);
MAP(xsks, BPF_MAP_TYPE_XSKMAP, 4, 0, __u32, __u32);
MAP(sockets, BPF_MAP_TYPE_SOCKMAP, 4, 0, __u32, __u64);
MAP(sockets_by_hash, BPF_MAP_TYPE_SOCKHASH, 4, 0, __u64, __u64);
MAP(reuseport, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 0, __u32, __u64);
MAP(of_sockets, BPF_MAP_TYPE_SK_STORAGE, 0, BPF_F_NO_PREALLOC, int, struct value);
MAP(of_inodes, BPF_MAP_TYPE_INODE_STORAGE, 0, BPF_F_NO_PREALLOC, int, struct value);
MAP(of_tasks, BPF_MAP_TYPE_TASK_STORAGE, 0, BPF_F_NO_PREALLOC, int, struct value);

#define KEYLESS(map_name, map_type, entries, value_type)                                                       \
	struct {                                                                                               \
		__uint(type, map_type);                                                                        \
		__uint(max_entries, entries);                                                                  \
		__type(value, value_type);                                                                     \
	} map_name SEC(".maps")

KEYLESS(queue, BPF_MAP_TYPE_QUEUE, 4, struct value);
KEYLESS(stack, BPF_MAP_TYPE_STACK, 4, struct value);
KEYLESS(bloom, BPF_MAP_TYPE_BLOOM_FILTER, 16, struct value);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000); /* no whole pages */
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} user_ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct value);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} of_maps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u64);
	__array(values, struct inner);
} of_maps_by_hash SEC(".maps");

SEC("socket")
int touch(struct __sk_buff *skb)
{
	__u64 key = skb->len;
	struct value *value = bpf_map_lookup_elem(&hash, &key);

	return value ? value->count : 0;
}
