// SPDX-License-Identifier: MIT
/* One program for each kind of CO-RE relocation and each way to name a field, which returns what it was told.
 *
 * Shows: all kinds; members of anonymous structs and unions, nested members, arrays, flexible arrays, a step on the root
 * pointer itself, bit-fields, flavours, typedefs and unions as roots; loads whose width follows the kernel's field. Names
 * begin with what they are about: off, size, exists, sign, shift, type, enum, load. The programs whose names begin with
 * `refused` reach an instruction without an answer: no kernel takes them.
 * Trigger: BPF_PROG_TEST_RUN; the answer is the return value (its low 32 bits).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#define VERDICT(name, answer) \
	SEC("raw_tp/sys_enter") \
	int name(void *ctx) \
	{ \
		return answer; \
	}

/* What a condition says that is true: not 0 or 1, so that nobody takes it for an answer of the kernel's. */
#define YES_OR_NO(condition) ((condition) ? 1001 : 1000)

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

/* In kernels `dev` is a member of an anonymous union of anonymous structs. */
struct sk_buff {
	void *dev;
	char cb[48];
	__u16 transport_header;
} KERNEL_TYPE;

struct upid {
	int nr;
} KERNEL_TYPE;

/* The last member was numbers[1] in old kernels, and is numbers[] now. */
struct pid {
	unsigned int level;
	struct upid numbers[];
} KERNEL_TYPE;

struct pid___one {
	struct upid numbers[1];
} KERNEL_TYPE;

union bpf_attr___mine {
	struct {
		__u32 map_type;
		__u32 key_size;
	};
	struct {
		__u64 batch_flags;
	} batch;
	struct {
		__u32 prog_type;
		__u32 insn_cnt;
	};
} KERNEL_TYPE;

typedef struct {
	int counter;
} KERNEL_TYPE atomic_t;

typedef struct {
	unsigned int val;
} KERNEL_TYPE kuid_t;

/* Parameters count by their number and by kinds, names of structs do not. */
typedef int (*bpf_func_t)(const void *ctx, const struct list_head *insn);
typedef int (*bpf_func_t___few)(const void *ctx);
typedef int (*bpf_func_t___other)(long ctx, const struct list_head *insn);

struct task_struct___bits {
	unsigned sched_reset_on_fork : 1;
	unsigned int flags;
} KERNEL_TYPE;

/* Members under their own names and other types. */
struct task_struct___wide {
	__u64 flags;
	__u32 start_time;
	void *pid; /* an int is no pointer */
	int mm; /* a pointer is no int */
} KERNEL_TYPE;

struct task_struct___narrow {
	__u16 flags;
	long tgid; /* signed, and of 4 bytes in kernels: a load cannot follow */
} KERNEL_TYPE;

struct task_struct___typo {
	int tgidd;
} KERNEL_TYPE;

struct ebpfpy_no_such_type {
	int member;
} KERNEL_TYPE;

/* As in every kernel. */
struct hlist_node {
	struct hlist_node *next, **pprev;
} KERNEL_TYPE;

struct hlist_node___less {
	struct hlist_node *next;
} KERNEL_TYPE;

struct hlist_node___more {
	struct hlist_node *next;
	int ebpfpy_no_such_member;
} KERNEL_TYPE;

struct hlist_node___changed {
	struct hlist_node *next, *pprev;
} KERNEL_TYPE;

/* Behind a pointer only the name and the kind count. */
struct hlist_head {
	struct hlist_node *first;
} KERNEL_TYPE;

enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID = 100, /* 1 in kernels */
	PIDTYPE_NO_SUCH = 200,
};

enum pid_type___less {
	PIDTYPE_PID___less,
};

enum perf_event_state {
	PERF_EVENT_STATE_DEAD = -77, /* -4 in kernels, and -5 since 6.15 */
};

/* 64 bits wide in kernels: only the low half fits here, and the relocation brings the whole. */
enum perf_callchain_context {
	PERF_CONTEXT_KERNEL = 5, /* -128 */
	PERF_CONTEXT_GUEST_USER = 6, /* -2560 */
};

enum ebpfpy_no_such_enum {
	EBPFPY_NOTHING = 5,
};

/* --- where ------------------------------------------------------------------------------------- */

VERDICT(off_member, bpf_core_field_offset(struct task_struct, pid))
VERDICT(off_flavour, bpf_core_field_offset(struct task_struct___bits, flags))
/* Other than a load, an offset does not care about the size of what is there. */
VERDICT(off_signed_of_another_size, bpf_core_field_offset(struct task_struct___narrow, tgid))
VERDICT(off_nested_anonymous, bpf_core_field_offset(struct dentry, d_name.len))
VERDICT(off_moved_into_anonymous, bpf_core_field_offset(struct sk_buff, dev))
VERDICT(off_element, bpf_core_field_offset(struct task_struct, comm[3]))
VERDICT(off_element_of_flexible,
	bpf_core_field_exists(struct pid, numbers[2].nr) ? bpf_core_field_offset(struct pid, numbers[2].nr) : 1000)
VERDICT(off_first_element, bpf_core_field_offset(struct pid___one, numbers[0].nr))
VERDICT(off_root_element, __builtin_preserve_field_info(((struct list_head *)0)[3].prev, BPF_FIELD_BYTE_OFFSET))
VERDICT(off_typedef_root, bpf_core_field_offset(kuid_t, val) + 1000)
VERDICT(off_union_root, bpf_core_field_offset(union bpf_attr___mine, insn_cnt))
VERDICT(off_bitfield, __builtin_preserve_field_info(((struct task_struct___bits *)0)->sched_reset_on_fork,
						    BPF_FIELD_BYTE_OFFSET))

/* --- how big ------------------------------------------------------------------------------------ */

VERDICT(size_member, bpf_core_field_size(struct sk_buff, transport_header))
VERDICT(size_array, bpf_core_field_size(struct task_struct, comm))
VERDICT(size_element, bpf_core_field_size(struct sk_buff, cb[5]))
VERDICT(size_struct, bpf_core_field_size(struct dentry, d_name))
VERDICT(size_changed, bpf_core_field_size(struct task_struct___wide, start_time))
VERDICT(size_bitfield, __builtin_preserve_field_info(((struct task_struct___bits *)0)->sched_reset_on_fork,
						     BPF_FIELD_BYTE_SIZE))

/* --- whether ------------------------------------------------------------------------------------ */

VERDICT(exists_member, YES_OR_NO(bpf_core_field_exists(struct task_struct, pid)))
VERDICT(exists_no_member, YES_OR_NO(bpf_core_field_exists(struct task_struct___typo, tgidd)))
VERDICT(exists_int_for_pointer, YES_OR_NO(bpf_core_field_exists(struct task_struct___wide, mm)))
VERDICT(exists_pointer_for_int, YES_OR_NO(bpf_core_field_exists(struct task_struct___wide, pid)))
VERDICT(exists_int_of_another_size, YES_OR_NO(bpf_core_field_exists(struct task_struct___wide, start_time)))
VERDICT(exists_element_beyond, YES_OR_NO(bpf_core_field_exists(struct pid, numbers[2].nr)))
VERDICT(exists_no_type, YES_OR_NO(bpf_core_field_exists(struct ebpfpy_no_such_type, member)))

/* --- signs and shifts ----------------------------------------------------------------------------- */

VERDICT(sign_of_signed, YES_OR_NO(bpf_core_field_size(struct task_struct, pid) &&
				  __builtin_preserve_field_info(((struct task_struct *)0)->pid, BPF_FIELD_SIGNED)))
VERDICT(sign_of_unsigned,
	YES_OR_NO(__builtin_preserve_field_info(((struct task_struct *)0)->start_time, BPF_FIELD_SIGNED)))
VERDICT(shift_left, __builtin_preserve_field_info(((struct task_struct___bits *)0)->sched_reset_on_fork,
						  BPF_FIELD_LSHIFT_U64))
VERDICT(shift_right, __builtin_preserve_field_info(((struct task_struct___bits *)0)->sched_reset_on_fork,
						   BPF_FIELD_RSHIFT_U64))
VERDICT(shift_of_plain, __builtin_preserve_field_info(((struct task_struct___bits *)0)->flags, BPF_FIELD_RSHIFT_U64))

/* --- types ------------------------------------------------------------------------------------------ */

VERDICT(type_local_id, bpf_core_type_id_local(struct task_struct))
VERDICT(type_local_id_of_typedef, bpf_core_type_id_local(atomic_t))
VERDICT(type_id, bpf_core_type_id_kernel(struct task_struct))
VERDICT(type_id_of_typedef, bpf_core_type_id_kernel(atomic_t))
VERDICT(type_no_id, bpf_core_type_id_kernel(struct ebpfpy_no_such_type) + 1000)
VERDICT(type_exists, YES_OR_NO(bpf_core_type_exists(struct task_struct)))
VERDICT(type_exists_union, YES_OR_NO(bpf_core_type_exists(union bpf_attr___mine)))
VERDICT(type_exists_typedef, YES_OR_NO(bpf_core_type_exists(atomic_t)))
VERDICT(type_exists_enum, YES_OR_NO(bpf_core_type_exists(enum pid_type)))
VERDICT(type_exists_function, YES_OR_NO(bpf_core_type_exists(bpf_func_t)))
VERDICT(type_exists_function_with_few, YES_OR_NO(bpf_core_type_exists(bpf_func_t___few)))
VERDICT(type_exists_function_of_long, YES_OR_NO(bpf_core_type_exists(bpf_func_t___other)))
VERDICT(type_exists_not, YES_OR_NO(bpf_core_type_exists(struct ebpfpy_no_such_type)))
VERDICT(type_size, bpf_core_type_size(struct task_struct))
VERDICT(type_no_size, bpf_core_type_size(struct ebpfpy_no_such_type) + 1000)
#if __clang_major__ >= 16
VERDICT(type_matches, YES_OR_NO(bpf_core_type_matches(struct hlist_node)))
VERDICT(type_matches_less, YES_OR_NO(bpf_core_type_matches(struct hlist_node___less)))
VERDICT(type_matches_more, YES_OR_NO(bpf_core_type_matches(struct hlist_node___more)))
VERDICT(type_matches_changed, YES_OR_NO(bpf_core_type_matches(struct hlist_node___changed)))
VERDICT(type_matches_pointer, YES_OR_NO(bpf_core_type_matches(struct hlist_head)))
VERDICT(type_matches_enum, YES_OR_NO(bpf_core_type_matches(enum pid_type___less)))
VERDICT(type_matches_no_enum, YES_OR_NO(bpf_core_type_matches(enum pid_type)))
#endif

/* --- enumerators -------------------------------------------------------------------------------------- */

VERDICT(enum_exists, YES_OR_NO(bpf_core_enum_value_exists(enum pid_type, PIDTYPE_TGID)))
VERDICT(enum_exists_not, YES_OR_NO(bpf_core_enum_value_exists(enum pid_type, PIDTYPE_NO_SUCH)))
VERDICT(enum_exists_no_enum, YES_OR_NO(bpf_core_enum_value_exists(enum ebpfpy_no_such_enum, EBPFPY_NOTHING)))
VERDICT(enum_value, bpf_core_enum_value(enum pid_type, PIDTYPE_TGID))
VERDICT(enum_negative, bpf_core_enum_value(enum perf_event_state, PERF_EVENT_STATE_DEAD))
VERDICT(enum_wide, bpf_core_enum_value(enum perf_callchain_context, PERF_CONTEXT_KERNEL))
VERDICT(enum_wide_upper_half, bpf_core_enum_value(enum perf_callchain_context, PERF_CONTEXT_KERNEL) >> 32)

/* --- loads ------------------------------------------------------------------------------------------------ */

#define TASK(flavour) ((struct task_struct##flavour *)bpf_get_current_task_btf())

VERDICT(load_member, TASK()->tgid)
VERDICT(load_through_pointers, TASK()->real_parent->tgid)
VERDICT(load_flags, TASK(___bits)->flags)
VERDICT(load_flags_as_wide, TASK(___wide)->flags)
VERDICT(load_flags_as_wide_upper_half, TASK(___wide)->flags >> 32)
VERDICT(load_flags_as_narrow, TASK(___narrow)->flags)
VERDICT(load_bitfield, BPF_CORE_READ_BITFIELD(TASK(___bits), sched_reset_on_fork) + 1000)

SEC("raw_tp/sys_enter")
int load_probed(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, real_parent, tgid);
}

SEC("raw_tp/sys_enter")
int load_bitfield_probed(void *ctx)
{
	struct task_struct___bits *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork) + 1000;
}

/* --- what no kernel takes ----------------------------------------------------------------------------------- */

#define REFUSED(name, answer) \
	SEC("?raw_tp/sys_enter") \
	int name(void *ctx) \
	{ \
		return answer; \
	}

REFUSED(refused_member, bpf_core_field_offset(struct task_struct___typo, tgidd))
REFUSED(refused_type, bpf_core_field_offset(struct ebpfpy_no_such_type, member))
REFUSED(refused_load, TASK(___typo)->tgidd)
REFUSED(refused_signed_load, TASK(___narrow)->tgid)
REFUSED(refused_pointer, bpf_core_field_offset(struct task_struct___wide, pid))
REFUSED(refused_enumerator, bpf_core_enum_value(enum pid_type, PIDTYPE_NO_SUCH))
