// SPDX-License-Identifier: MIT
/* What the kernel keeps of programs and maps and tells no other way: flags, expected attach types, inner maps.
 *
 * Shows: iterators that write structures; members that moved between kernels (flavours). Trigger: reading them.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#define ARENA 33 /* BPF_MAP_TYPE_ARENA, which older headers lack */

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
} KERNEL_TYPE;

struct bpf_prog_aux {
	__u32 id;
	_Bool sleepable; /* until 6.8 */
	_Bool xdp_has_frags; /* 5.18 */
} KERNEL_TYPE;

struct bpf_prog {
	__u16 kprobe_override : 1;
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_aux *aux;
} KERNEL_TYPE;

struct bpf_prog___6_9 {
	__u16 sleepable : 1;
} KERNEL_TYPE;

struct bpf_map {
	enum bpf_map_type map_type;
	struct bpf_map *inner_map_meta;
	__u32 id;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u64 map_extra;
	__u32 map_flags;
	int numa_node;
	_Bool frozen;
} KERNEL_TYPE;

struct bpf_arena { /* 6.9 */
	__u64 user_vm_start;
} KERNEL_TYPE;

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
} KERNEL_TYPE;

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} KERNEL_TYPE;

struct program_view {
	__u64 aux; /* its address, which is in the code of programs with timers */
	__u32 id;
	__u32 expected_attach_type;
	__u32 sleepable;
	__u32 xdp_has_frags;
	__u32 kprobe_override;
};

struct map_view {
	__u32 id;
	__u32 frozen;
	__s32 numa_node;
	__u32 inner_type;
	__u32 inner_key_size;
	__u32 inner_value_size;
	__u32 inner_max_entries;
	__u32 inner_flags;
	__u64 map_extra;
	__u64 arena;
};

/* Keeps the types of what is written. */
const struct program_view *program_view_of;
const struct map_view *map_view_of;

SEC("iter/bpf_prog")
int each_program(struct bpf_iter__bpf_prog *ctx)
{
	struct program_view view = {};
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog___6_9 *newer = (void *)prog;

	if (!prog)
		return 0;
	view.aux = (__u64)prog->aux;
	view.id = prog->aux->id;
	view.expected_attach_type = prog->expected_attach_type;
	if (bpf_core_field_exists(prog->aux->sleepable))
		view.sleepable = prog->aux->sleepable;
	else if (bpf_core_field_exists(newer->sleepable))
		view.sleepable = BPF_CORE_READ_BITFIELD_PROBED(newer, sleepable);
	if (bpf_core_field_exists(prog->aux->xdp_has_frags))
		view.xdp_has_frags = prog->aux->xdp_has_frags;
	/* Probed: in newer kernels the bit shares a unit with another member, over which the verifier allows no load. */
	view.kprobe_override = BPF_CORE_READ_BITFIELD_PROBED(prog, kprobe_override);
	bpf_seq_write(ctx->meta->seq, &view, sizeof(view));
	return 0;
}

SEC("iter/bpf_map")
int each_map(struct bpf_iter__bpf_map *ctx)
{
	struct map_view view = {};
	struct bpf_map *map = ctx->map, *inner;

	if (!map)
		return 0;
	view.id = map->id;
	view.frozen = map->frozen;
	view.numa_node = map->numa_node;
	if (bpf_core_field_exists(map->map_extra))
		view.map_extra = map->map_extra;
	if (map->map_type == ARENA && bpf_core_type_exists(struct bpf_arena))
		view.arena = BPF_CORE_READ((struct bpf_arena *)map, user_vm_start);
	inner = map->inner_map_meta;
	if (inner) {
		view.inner_type = inner->map_type;
		view.inner_key_size = inner->key_size;
		view.inner_value_size = inner->value_size;
		view.inner_max_entries = inner->max_entries;
		view.inner_flags = inner->map_flags;
	}
	bpf_seq_write(ctx->meta->seq, &view, sizeof(view));
	return 0;
}
