// SPDX-License-Identifier: MIT
/* Types that old kernels do not know: floating point numbers, tags on declarations and on types, enums of 64 bits.
 *
 * Read only: what these become for an old kernel is compared with what libbpf makes of them.
 */
#include "probe.h"

#define __tag(name) __attribute__((btf_decl_tag(name)))
#define __type_tag(name) __attribute__((btf_type_tag(name)))

enum wide {
	WIDE_SMALL = 1,
	WIDE_LARGE = 1ULL << 40,
};

enum below_zero {
	BELOW = -1,
	ABOVE = 1,
};

struct measured {
	double value;
	float error;
	int __type_tag("user") *where __tag("from_user");
	int __type_tag("rcu") __type_tag("user") *twice;
	enum wide wide;
	enum below_zero sign;
} __tag("measured");

struct measured latest __tag("variable");
typedef struct measured *measured_t __tag("typedef");
measured_t history[2];

__attribute__((noinline)) int pick(int index __tag("argument")) __tag("function")
{
	return index & 1;
}

SEC("raw_tp/sys_enter")
int tagged(void *ctx)
{
	latest.wide = WIDE_LARGE;
	latest.sign = pick((long)ctx) ? BELOW : ABOVE;
	history[0] = &latest;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
