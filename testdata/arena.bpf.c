// SPDX-License-Identifier: MIT
/* An arena: memory that programs and user space share, with global variables and pointers in it (Linux 6.9).
 *
 * Shows: a map of type ARENA with an address of its own (map_extra), variables of address space 1, a pointer from user
 * space into the arena that the program follows. Needs a compiler that knows address spaces (clang 19).
 * Trigger: running `walk` with BPF_PROG_TEST_RUN; answers in .bss.
 */
#include "probe.h"

#define __arena __attribute__((address_space(1)))
#define IN_ARENA __arena SEC(".addr_space.1")

char LICENSE[] SEC("license") = "GPL";

#define BPF_MAP_TYPE_ARENA_ 33
#define BPF_F_MMAPABLE_ (1 << 10)

struct {
	__uint(type, BPF_MAP_TYPE_ARENA_);
	__uint(map_flags, BPF_F_MMAPABLE_);
	__uint(max_entries, 16); /* pages */
} arena SEC(".maps");

struct node {
	struct node __arena *next;
	__u64 value;
};

__u64 IN_ARENA total = 40;
struct node __arena *IN_ARENA head;

__u64 length, sum;

SEC("syscall")
int walk(void *ctx)
{
	struct node __arena *node = head;

	length = sum = 0;
	for (int i = 0; i < 100 && node; i++) {
		sum += node->value;
		length++;
		node = node->next;
	}
	total += 2;
	return 0;
}
