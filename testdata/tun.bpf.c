// SPDX-License-Identifier: MIT
/* Watches the module tun: opening /dev/net/tun.
 *
 * Shows: fentry with a module's name in the section, fexit without one, and CO-RE on struct tun_file, which exists
 * in the module's BTF only (its first member's type, struct sock, is vmlinux's).
 * Trigger: `: < /dev/net/tun` (needs no network). The exit event then has sk_sndbuf 0x7fffffff.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct sock {
	int sk_sndbuf;
} KERNEL_TYPE;

struct tun_file {
	struct sock sk;
	unsigned int flags;
} KERNEL_TYPE;

struct file {
	void *private_data;
} KERNEL_TYPE;

struct inode;

/* Not in any kernel: the relocation must answer 0. */
struct ebpfpy_no_such_type {
	int member;
} KERNEL_TYPE;

struct event {
	__u32 pid;
	__u32 at_exit;   /* 0: fentry, 1: fexit */
	__s32 sk_sndbuf; /* of the fresh tun_file; only at exit */
	__s32 ret;       /* what tun_chr_open returned; only at exit */
	__u32 size;      /* sizeof(struct tun_file) in this kernel */
	__u32 sk_offset; /* of sk.sk_sndbuf in struct tun_file */
	__u8 exists;     /* struct tun_file is known: 1 */
	__u8 bogus;      /* struct ebpfpy_no_such_type is known: 0 */
	__u16 unused;
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

static __always_inline struct event *new_event(void)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return event;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = current_pid();
	event->size = bpf_core_type_size(struct tun_file);
	event->sk_offset = bpf_core_field_offset(struct tun_file, sk.sk_sndbuf);
	event->exists = bpf_core_type_exists(struct tun_file);
	event->bogus = bpf_core_type_exists(struct ebpfpy_no_such_type);
	return event;
}

SEC("fentry/tun:tun_chr_open")
int BPF_PROG(tun_open_entry, struct inode *inode, struct file *file)
{
	struct event *event = new_event();

	if (event)
		bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("fexit/tun_chr_open")
int BPF_PROG(tun_open_exit, struct inode *inode, struct file *file, int ret)
{
	struct event *event = new_event();
	struct tun_file *tfile;

	if (!event)
		return 0;
	tfile = file->private_data;
	event->at_exit = 1;
	event->ret = ret;
	event->sk_sndbuf = BPF_CORE_READ(tfile, sk.sk_sndbuf);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
