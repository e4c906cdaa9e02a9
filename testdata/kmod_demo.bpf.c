// SPDX-License-Identifier: MIT
/* Watches our own module (kmod/ebpfpy_demo.c): everything about a module's types with exact values.
 *
 * Shows: fexit on module:function and fentry without the module; a module-only structure with nested members, a
 * pointer that leads back into vmlinux's types (owner->tgid), arrays, a union, a list of itself; unsigned, signed
 * and wide bit-fields; an enumerator's value; the arguments and the return value of a function; a structure
 * (bictcp) that vmlinux has too, with another layout.
 * Trigger: `echo 21 > /proc/ebpfpy_demo`. Then, in the exit event: value 21, ret 43, mode 7 (busy), tag
 * "hello-module", ready 1, level 1027, drift -9, bias -2049, wide 0xabcdef0123, deep -4194304, history {21, -2, 3,
 * -4} at the first poke, word 0x04030201, next_tag "second", owner_tgid the writer's. The bictcp event has own 0xb1c.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define TAG_LEN 16

/* The values differ from the module's: the relocations must put them right (7 and -3). */
enum ebpfpy_demo_mode {
	EBPFPY_DEMO_IDLE = 50,
	EBPFPY_DEMO_BUSY = 51,
	EBPFPY_DEMO_BROKEN = 52,
};

struct ebpfpy_demo_flags {
	unsigned int ready : 1;
	unsigned int level : 11;
	signed int drift : 5;
	signed int bias : 13;
	unsigned long long wide : 40;
	signed long long deep : 24;
} KERNEL_TYPE;

struct ebpfpy_demo_inner {
	struct ebpfpy_demo_flags flags;
	char tag[TAG_LEN];
} KERNEL_TYPE;

/* In another order than the module's. */
struct ebpfpy_demo_state {
	struct ebpfpy_demo_state *next;
	enum ebpfpy_demo_mode mode;
	__u32 hits;
	struct task_struct *owner;
	struct ebpfpy_demo_inner inner;
	short history[4];
	union {
		__u32 word;
		__u8 bytes[4];
	};
	__u64 magic;
} KERNEL_TYPE;

struct bictcp {
	__u32 cnt;
	__u64 ebpfpy_only;
} KERNEL_TYPE;

struct event {
	__u64 magic;
	__u64 wide;
	__s64 deep;
	__u64 own; /* bictcp.ebpfpy_only; only in the clash event */
	__u32 pid;
	__u32 kind; /* 0: entry, 1: exit, 2: clash */
	__s32 value;
	__s32 ret;
	__u32 hits;
	__s32 mode;
	__s32 mode_busy;   /* EBPFPY_DEMO_BUSY in the module's BTF: 7 */
	__s32 mode_broken; /* EBPFPY_DEMO_BROKEN in the module's BTF: -3 */
	__u32 owner_tgid;
	__u32 ready;
	__u32 level;
	__s32 drift;
	__s32 bias;
	__u32 word;
	__s16 history[4];
	__u8 third_byte;  /* bytes[2]: 3 */
	__u8 is_busy;     /* mode equals the module's EBPFPY_DEMO_BUSY */
	__u16 size;       /* sizeof(struct ebpfpy_demo_state) in the module */
	char tag[TAG_LEN];
	char next_tag[TAG_LEN];
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

static __always_inline struct event *new_event(__u32 kind)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return event;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = current_pid();
	event->kind = kind;
	return event;
}

static __always_inline void fill(struct event *event, struct ebpfpy_demo_state *state)
{
	event->magic = BPF_CORE_READ(state, magic);
	event->hits = BPF_CORE_READ(state, hits);
	event->mode = BPF_CORE_READ(state, mode);
	event->mode_busy = bpf_core_enum_value(enum ebpfpy_demo_mode, EBPFPY_DEMO_BUSY);
	event->mode_broken = bpf_core_enum_value(enum ebpfpy_demo_mode, EBPFPY_DEMO_BROKEN);
	event->is_busy = event->mode == event->mode_busy;
	event->owner_tgid = BPF_CORE_READ(state, owner, tgid);
	event->ready = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.ready);
	event->level = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.level);
	event->drift = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.drift);
	event->bias = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.bias);
	event->wide = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.wide);
	event->deep = BPF_CORE_READ_BITFIELD_PROBED(state, inner.flags.deep);
	event->word = BPF_CORE_READ(state, word);
	event->third_byte = BPF_CORE_READ(state, bytes[2]);
	event->size = bpf_core_type_size(struct ebpfpy_demo_state);
	BPF_CORE_READ_INTO(&event->history, state, history);
	BPF_CORE_READ_STR_INTO(&event->tag, state, inner.tag);
	BPF_CORE_READ_STR_INTO(&event->next_tag, state, next, inner.tag);
}

SEC("fentry/ebpfpy_demo_poke")
int BPF_PROG(poke_entry, struct ebpfpy_demo_state *state, int value)
{
	struct event *event = new_event(0);

	if (!event)
		return 0;
	event->value = value;
	fill(event, state);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fexit/ebpfpy_demo:ebpfpy_demo_poke")
int BPF_PROG(poke_exit, struct ebpfpy_demo_state *state, int value, int ret)
{
	struct event *event = new_event(1);

	if (!event)
		return 0;
	event->value = value;
	event->ret = ret;
	fill(event, state);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fexit/ebpfpy_demo:ebpfpy_demo_clash")
int BPF_PROG(clash_exit, struct bictcp *own, int value, int ret)
{
	struct event *event = new_event(2);

	if (!event)
		return 0;
	event->value = value;
	event->ret = ret;
	event->own = BPF_CORE_READ(own, ebpfpy_only);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
