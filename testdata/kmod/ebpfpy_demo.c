// SPDX-License-Identifier: GPL-2.0
/*
 * ebpfpy_demo: a kernel module to aim BPF programs at.
 *
 * Its types exist nowhere else, so a program that reads them can only be relocated against this module's
 * own BTF. Its state is constant apart from `hits`, `mode`, `owner` and `history`, so a test knows what it
 * must read:
 *
 *	echo 21 > /proc/ebpfpy_demo	calls ebpfpy_demo_poke(state, 21), which returns 43; programs may go on from there
 *	cat /proc/ebpfpy_demo		the last value returned, and how often it was called
 */
#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

enum ebpfpy_demo_mode {
	EBPFPY_DEMO_IDLE = 0,
	EBPFPY_DEMO_BUSY = 7,
	EBPFPY_DEMO_BROKEN = -3,
};

/* Bitfields on both sides of a byte boundary, signed ones too, and one that fills all 64 bits. */
struct ebpfpy_demo_flags {
	unsigned int ready : 1;
	unsigned int level : 11;
	signed int drift : 5;
	signed int bias : 13;
	unsigned long long wide : 40;
	signed long long deep : 24;
};

struct ebpfpy_demo_inner {
	char tag[16];
	struct ebpfpy_demo_flags flags;
};

struct ebpfpy_demo_state {
	u64 magic;
	struct ebpfpy_demo_inner inner;
	struct task_struct *owner;
	u32 hits;
	enum ebpfpy_demo_mode mode;
	s16 history[4];
	union {
		u32 word;
		u8 bytes[4];
	};
	struct ebpfpy_demo_state *next;
};

/*
 * A name that vmlinux has too: tcp_cubic's `struct bictcp` is larger and has other members. Whoever looks
 * the name up in vmlinux first reads this one wrongly.
 */
struct bictcp {
	u64 ebpfpy_only;
	u32 cnt;
};

static struct ebpfpy_demo_state second = { .magic = 0xfeedfacecafef00dULL, .inner.tag = "second" };

static struct ebpfpy_demo_state state = {
	.magic = 0x1122334455667788ULL,
	.inner = {
		.tag = "hello-module",
		.flags = {
			.ready = 1, .level = 1027, .drift = -9, .bias = -2049,
			.wide = 0xabcdef0123ULL, .deep = -4194304,
		},
	},
	.history = { 1, -2, 3, -4 },
	.word = 0x04030201,
	.next = &second,
};

static struct bictcp clash = { .ebpfpy_only = 0xb1c, .cnt = 5 };
static int last;

/* How often this processor was written from, counted from 4700 on: a variable that programs can read. */
DEFINE_PER_CPU(int, ebpfpy_demo_writes) = 4700;

/* Not static, so that nothing inlines or specialises them. */
int ebpfpy_demo_poke(struct ebpfpy_demo_state *target, int value);
int ebpfpy_demo_clash(struct bictcp *own, int value);

noinline int ebpfpy_demo_poke(struct ebpfpy_demo_state *target, int value)
{
	target->hits++;
	target->mode = EBPFPY_DEMO_BUSY;
	target->owner = current;
	barrier();
	return value * 2 + 1;
}

noinline int ebpfpy_demo_clash(struct bictcp *own, int value)
{
	own->cnt += value;
	barrier();
	return own->cnt;
}

#include "ops.h"

/* A function whose name vmlinux has too (fs/proc/version.c): attaching by name has two places to go. */
static noinline int version_proc_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "last %d hits %u\n", last, state.hits);
	return 0;
}

/* The macros for kfuncs came one by one: no registration by set before 6.0, no *_defs before 6.7. */
#ifndef __bpf_kfunc
#define __bpf_kfunc __used noinline
#endif
#ifndef __bpf_kfunc_start_defs
#define __bpf_kfunc_start_defs() u64 ebpfpy_demo_kfunc_add(u64 a, u64 b)
#define __bpf_kfunc_end_defs() static_assert(true)
#endif
#ifndef BTF_KFUNCS_START
#define BTF_KFUNCS_START BTF_SET8_START
#define BTF_KFUNCS_END BTF_SET8_END
#endif

__bpf_kfunc_start_defs();

__bpf_kfunc u64 ebpfpy_demo_kfunc_add(u64 a, u64 b)
{
	return a + b + 1000;
}

__bpf_kfunc_end_defs();

#ifdef BTF_SET8_START
BTF_KFUNCS_START(ebpfpy_demo_kfuncs)
BTF_ID_FLAGS(func, ebpfpy_demo_kfunc_add)
BTF_KFUNCS_END(ebpfpy_demo_kfuncs)

static const struct btf_kfunc_id_set kfuncs = {
	.owner = THIS_MODULE,
	.set = &ebpfpy_demo_kfuncs,
};

/* Without BTF the module still serves kprobes, so a failure is no more than a warning. */
static void __init ebpfpy_demo_register_kfuncs(void)
{
	static const enum bpf_prog_type callers[] = { BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_TRACING };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(callers); i++) {
		int error = register_btf_kfunc_id_set(callers[i], &kfuncs);

		if (error)
			pr_warn("ebpfpy_demo: no kfuncs: %d\n", error);
	}
}
#else
static void __init ebpfpy_demo_register_kfuncs(void)
{
}
#endif

static ssize_t ebpfpy_demo_write(struct file *file, const char __user *text, size_t size, loff_t *offset)
{
	int value, error = kstrtoint_from_user(text, size, 0, &value);

	if (error)
		return error;
	this_cpu_inc(ebpfpy_demo_writes);
	state.history[state.hits % ARRAY_SIZE(state.history)] = value;
	last = ebpfpy_demo_apply(&state, ebpfpy_demo_poke(&state, value));
	ebpfpy_demo_clash(&clash, value);
	return size;
}

static int ebpfpy_demo_open(struct inode *inode, struct file *file)
{
	return single_open(file, version_proc_show, NULL);
}

static const struct proc_ops operations = {
	.proc_open = ebpfpy_demo_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = ebpfpy_demo_write,
};

static int __init ebpfpy_demo_init(void)
{
	ebpfpy_demo_register_kfuncs();
	ebpfpy_demo_register_ops();
	return proc_create("ebpfpy_demo", 0600, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit ebpfpy_demo_exit(void)
{
	remove_proc_entry("ebpfpy_demo", NULL);
}

module_init(ebpfpy_demo_init);
module_exit(ebpfpy_demo_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Something to aim BPF programs at");
