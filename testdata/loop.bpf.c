// SPDX-License-Identifier: MIT
/* Watches the module loop: a file being bound to a loop device.
 *
 * Shows: fexit on a module's function without the module's name, CO-RE on struct loop_device (module's BTF only).
 * Trigger: `losetup /dev/loop0 FILE` (LOOP_CONFIGURE); file_name is then FILE as losetup gave it.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define LO_NAME_SIZE 64

struct loop_device {
	int lo_number;
	long long lo_offset;
	long long lo_sizelimit;
	int lo_flags;
	char lo_file_name[LO_NAME_SIZE];
} KERNEL_TYPE;

struct block_device;
struct loop_config;

struct event {
	__s64 offset;
	__s64 sizelimit;
	__u32 pid;
	__s32 ret;    /* what loop_configure returned */
	__s32 number; /* 0 for /dev/loop0 */
	__s32 flags;  /* LO_FLAGS_* */
	char file_name[LO_NAME_SIZE];
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

SEC("fexit/loop_configure")
int BPF_PROG(loop_configured, struct loop_device *lo, unsigned int mode, struct block_device *bdev,
	     const struct loop_config *config, int ret)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->pid = current_pid();
	event->ret = ret;
	event->number = lo->lo_number;
	event->flags = BPF_CORE_READ(lo, lo_flags);
	event->offset = BPF_CORE_READ(lo, lo_offset);
	event->sizelimit = BPF_CORE_READ(lo, lo_sizelimit);
	BPF_CORE_READ_STR_INTO(&event->file_name, lo, lo_file_name);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
