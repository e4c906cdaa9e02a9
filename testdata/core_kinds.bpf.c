// SPDX-License-Identifier: MIT
/* Every kind of CO-RE relocation, against types that a kernel has, has in another shape, or has not.
 *
 * Shows: byte_off, byte_sz, field_exists, signed, lshift_u64, rshift_u64, local_type_id, target_type_id, type_exists,
 * type_size, type_matches (clang 16 and newer; absent in older objects), enumval_exists, enumval_value; in ALU
 * immediates, loads, and 64-bit immediates; flavours (NAME___flavour), nested and anonymous members, arrays, bit-fields.
 * Trigger: any system call; answers are in the .bss variables `fields`, `types`, `enums`, `bits`.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

/* Anonymous union inside; array elements; a nested structure by value. */
struct list_head {
	struct list_head *next, *prev;
} KERNEL_TYPE;

struct qstr {
	union {
		struct {
			__u32 hash;
			__u32 len;
		};
		__u64 hash_len;
	};
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct qstr d_name;
} KERNEL_TYPE;

/* A field that kernels before 5.14 had, and its successor. */
struct task_struct___old {
	long state;
} KERNEL_TYPE;

struct task_struct___new {
	unsigned int __state;
	struct list_head children;
	unsigned sched_reset_on_fork : 1;
	int exit_code;
	unsigned int personality;
} KERNEL_TYPE;

/* Exists in no kernel; test targets define it with other offsets and widths. */
struct ebpfpy_bits {
	unsigned int low : 3;
	unsigned int middle : 11;
	signed int negative : 5;
	unsigned long long wide : 40;
	short plain;
} KERNEL_TYPE;

struct ebpfpy_no_such_type {
	int member;
	int other[4];
} KERNEL_TYPE;

/* The same names and types as in every kernel: type_matches answers 1. */
struct hlist_node {
	struct hlist_node *next, **pprev;
} KERNEL_TYPE;

/* A member that no kernel has: type_exists 1, type_matches 0. */
struct hlist_head {
	struct hlist_node *first;
	int ebpfpy_no_such_member;
} KERNEL_TYPE;

typedef struct {
	int counter;
} atomic_t;

enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID = 100, /* 1 in kernels: the relocation must put it right */
	PIDTYPE_NO_SUCH = 200,
};

enum ebpfpy_no_such_enum {
	EBPFPY_NOTHING = 5,
};

#if __clang_major__ >= 15
/* 64-bit enumerators came with clang 15; older compilers write them as 32 bits. */
enum ebpfpy_wide {
	EBPFPY_WIDE = 0x100000002ULL,
};
#endif

struct fields {
	__u64 pid_offset;
	__u64 comm_offset;
	__u64 comm_size;
	__u64 comm_third_offset;
	__u64 qstr_len_offset;
	__u64 children_prev_offset;
	__u64 old_state_exists;
	__u64 new_state_exists;
	__u64 state;
	__u64 pid_signed;
	__u64 start_time_signed;
	__u64 missing_exists;
	__u64 missing_array_exists;
} fields;

struct types {
	__u64 task_local_id;
	__u64 task_target_id;
	__u64 task_exists;
	__u64 task_size;
	__u64 typedef_exists;
	__u64 missing_exists;
	__u64 missing_size;
	__u64 missing_target_id;
	__u64 node_matches;
	__u64 head_matches;
} types;

struct enums {
	__u64 tgid_exists;
	__u64 tgid_value;
	__u64 no_such_exists;
	__u64 missing_exists;
	__u64 wide_exists;
	__u64 wide_value;
} enums;

struct bits {
	__u64 reset_on_fork;
	__u64 low_exists;
	__u64 low;
	__u64 middle;
	__s64 negative;
	__u64 wide;
	__s64 plain;
} bits;

SEC("raw_tp/sys_enter")
int core_fields(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct___old *old = (void *)task;
	struct task_struct___new *new = (void *)task;

	fields.pid_offset = bpf_core_field_offset(struct task_struct, pid);
	fields.comm_offset = bpf_core_field_offset(struct task_struct, comm);
	fields.comm_size = bpf_core_field_size(struct task_struct, comm);
	fields.comm_third_offset = bpf_core_field_offset(struct task_struct, comm[3]);
	fields.qstr_len_offset = bpf_core_field_offset(struct dentry, d_name.len);
	fields.children_prev_offset = bpf_core_field_offset(struct task_struct___new, children.prev);
	fields.old_state_exists = bpf_core_field_exists(old->state);
	fields.new_state_exists = bpf_core_field_exists(new->__state);
	if (bpf_core_field_exists(old->state))
		fields.state = BPF_CORE_READ(old, state);
	else
		fields.state = BPF_CORE_READ(new, __state);
	fields.pid_signed = __builtin_preserve_field_info(task->pid, BPF_FIELD_SIGNED);
	fields.start_time_signed = __builtin_preserve_field_info(task->start_time, BPF_FIELD_SIGNED);
	fields.missing_exists = bpf_core_field_exists(struct ebpfpy_no_such_type, member);
	fields.missing_array_exists = bpf_core_field_exists(struct ebpfpy_no_such_type, other[2]);
	return 0;
}

SEC("raw_tp/sys_enter")
int core_types(void *ctx)
{
	types.task_local_id = bpf_core_type_id_local(struct task_struct);
	types.task_target_id = bpf_core_type_id_kernel(struct task_struct);
	types.task_exists = bpf_core_type_exists(struct task_struct);
	types.task_size = bpf_core_type_size(struct task_struct);
	types.typedef_exists = bpf_core_type_exists(atomic_t);
	types.missing_exists = bpf_core_type_exists(struct ebpfpy_no_such_type);
	types.missing_size = bpf_core_type_size(struct ebpfpy_no_such_type);
	types.missing_target_id = bpf_core_type_id_kernel(struct ebpfpy_no_such_type);
#if __clang_major__ >= 16
	types.node_matches = bpf_core_type_matches(struct hlist_node);
	types.head_matches = bpf_core_type_matches(struct hlist_head);
#endif
	return 0;
}

SEC("raw_tp/sys_enter")
int core_enums(void *ctx)
{
	enums.tgid_exists = bpf_core_enum_value_exists(enum pid_type, PIDTYPE_TGID);
	enums.tgid_value = bpf_core_enum_value(enum pid_type, PIDTYPE_TGID);
	enums.no_such_exists = bpf_core_enum_value_exists(enum pid_type, PIDTYPE_NO_SUCH);
	enums.missing_exists = bpf_core_enum_value_exists(enum ebpfpy_no_such_enum, EBPFPY_NOTHING);
#if __clang_major__ >= 15
	enums.wide_exists = bpf_core_enum_value_exists(enum ebpfpy_wide, EBPFPY_WIDE);
	if (enums.wide_exists)
		enums.wide_value = bpf_core_enum_value(enum ebpfpy_wide, EBPFPY_WIDE);
#endif
	return 0;
}

SEC("raw_tp/sys_enter")
int core_bits(void *ctx)
{
	struct task_struct___new *task = (void *)bpf_get_current_task();
	struct ebpfpy_bits *own = (void *)task;

	bits.reset_on_fork = BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork);
	bits.low_exists = bpf_core_field_exists(own->low);
	if (bpf_core_field_exists(own->low)) {
		bits.low = BPF_CORE_READ_BITFIELD_PROBED(own, low);
		bits.middle = BPF_CORE_READ_BITFIELD_PROBED(own, middle);
		bits.negative = BPF_CORE_READ_BITFIELD_PROBED(own, negative);
		bits.wide = BPF_CORE_READ_BITFIELD_PROBED(own, wide);
		bits.plain = BPF_CORE_READ_BITFIELD_PROBED(own, plain);
	}
	return 0;
}

/* Fields read by plain loads: the relocation is in the load itself. */
SEC("tp_btf/sys_enter")
int core_loads(__u64 *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	fields.state = task->tgid + task->start_time + task->real_parent->pid;
	return 0;
}
