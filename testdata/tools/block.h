/* SPDX-License-Identifier: MIT
 *
 * The parts of a request to a block device that tools read.
 */
#ifndef EBPFPY_TESTDATA_BLOCK_H
#define EBPFPY_TESTDATA_BLOCK_H

#include "tool.h"

#define DEVICE(major, minor) ((__u32)(major) << 20 | (__u32)(minor))

struct gendisk {
	int major;
	int first_minor;
} KERNEL_TYPE;

struct request_queue {
	struct gendisk *disk;
} KERNEL_TYPE;

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;
	unsigned int __data_len;
} KERNEL_TYPE;

/* Before Linux 5.17 the request knew its disk itself. */
struct request___before_5_17 {
	struct gendisk *rq_disk;
} KERNEL_TYPE;

static __always_inline __u32 device_of(struct request *request)
{
	struct request___before_5_17 *old = (void *)request;
	struct gendisk *disk;

	if (bpf_core_field_exists(old->rq_disk))
		disk = BPF_CORE_READ(old, rq_disk);
	else
		disk = BPF_CORE_READ(request, q, disk);
	if (!disk)
		return 0;
	return DEVICE(BPF_CORE_READ(disk, major), BPF_CORE_READ(disk, first_minor));
}

#endif
