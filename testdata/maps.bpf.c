// SPDX-License-Identifier: MIT
/* Map definitions: types, sizes with and without BTF types, flags, pinning.
 *
 * Trigger: any system call: process ids go into `hash` and `lru`, `array`[0] counts.
 * `pinned` asks to be pinned by name: give the loader a pin path.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#ifndef __ulong /* in newer bpf_helpers.h */
#define __ulong(name, val) enum { __ulong_concat(name, __LINE__) = val } name
#define __ulong_concat(a, b) __ulong_concat_(a, b)
#define __ulong_concat_(a, b) a##b
#endif

struct key {
	__u32 pid;
	__u32 cpu;
};

struct value {
	__u64 count;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, struct key);
	__type(value, struct value);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(__u64));
	__uint(value_size, 12);
} sized SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} percpu_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct value);
} percpu_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} lru SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u32);
} pinned SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, 32 * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 100);
	__ulong(map_extra, 3);
	__type(value, __u32);
} bloom SEC(".maps");

SEC("raw_tp/sys_enter")
int fill(void *ctx)
{
	struct key key = {.pid = current_pid(), .cpu = bpf_get_smp_processor_id()};
	struct value fresh = {.count = 1}, *value;
	__u32 zero = 0, pid = key.pid;
	__u64 one = 1, *count;

	value = bpf_map_lookup_elem(&hash, &key);
	if (value) {
		value->count++;
	} else {
		bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
		bpf_map_update_elem(&hash, &key, &fresh, BPF_ANY);
	}
	count = bpf_map_lookup_elem(&array, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	count = bpf_map_lookup_elem(&percpu_hash, &pid);
	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&percpu_hash, &pid, &one, BPF_ANY);
	value = bpf_map_lookup_elem(&percpu_array, &zero);
	if (value)
		value->count++;
	bpf_map_update_elem(&lru, &pid, &one, BPF_ANY);
	return 0;
}
