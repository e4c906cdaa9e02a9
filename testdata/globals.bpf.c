// SPDX-License-Identifier: MIT
/* Global variables of every kind of section and many types; the program copies some of them into .bss.
 *
 * Shows: .rodata, .rodata.NAME, .data, .data.NAME and .bss; static variables (referenced through their section's
 * symbol plus an addend), arrays, structures, floats of C's integer types, pointers, enumerations, bool.
 * Trigger: any system call of process `only_pid` (0: of any process).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

enum mode {
	MODE_OFF,
	MODE_ON = 7,
};

struct pair {
	__u32 left;
	__s64 right;
};

/* .rodata */
const volatile __u32 only_pid = 0;
const volatile _Bool enabled = 1;
const volatile enum mode mode = MODE_ON;
const volatile char greeting[8] = "hello";
static const volatile __s16 static_constant = -5;

/* .rodata.limits */
const volatile __u64 limit SEC(".rodata.limits") = 0x1122334455667788ULL;

/* .data */
__u8 byte = 0x12;
__u16 half = 0x1234;
__u32 word = 0x12345678;
__u64 quad = 0x123456789abcdef0ULL;
__s32 negative = -2;
struct pair pair = {.left = 1, .right = -1};
__u32 numbers[4] = {10, 20, 30, 40};
static __u32 static_first = 100;
static __u32 static_second = 200;

/* .data.extra */
__u32 extra SEC(".data.extra") = 77;

/* .bss */
__u64 runs;
__u64 sum;
__u64 results[8];
static __u64 static_zero;

SEC("raw_tp/sys_enter")
int use_globals(void *ctx)
{
	__u32 pid = current_pid();

	if (!enabled || (only_pid && pid != only_pid))
		return 0;
	__sync_fetch_and_add(&runs, 1);
	static_second += 1;
	static_zero += static_first;
	numbers[3] += mode;
	extra += 1;
	sum = byte + half + word + negative + pair.left + numbers[2] + static_first;
	results[0] = quad;
	results[1] = limit;
	results[2] = static_constant;
	results[3] = greeting[1];
	results[4] = static_second;
	results[5] = extra;
	results[6] = pair.right;
	results[7] = static_zero;
	return 0;
}
