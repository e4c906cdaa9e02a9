// SPDX-License-Identifier: MIT
/* Visibility and binding: hidden variables and functions, weak ones, static ones, each in every kind of section.
 *
 * Shows: what is hidden is static for the kernel; only sections with a visible variable are shared by libbpf.
 * Trigger: running `answer` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

__hidden int hidden_data = 1;
int visible_data = 2;
__weak int weak_data = 3;
static volatile int static_data = 4;

__hidden int hidden_alone SEC(".data.hidden") = 10;
static volatile int static_alone SEC(".data.static") = 20;
__weak int weak_alone SEC(".data.weak") = 30;
__hidden const volatile int hidden_constant SEC(".rodata.hidden") = 100;
__hidden int hidden_zero;

__hidden __noinline int hidden_function(int value)
{
	barrier_var(value);
	return value + hidden_data + hidden_alone + hidden_constant;
}

__weak __noinline int weak_function(int value)
{
	barrier_var(value);
	return value + weak_data + weak_alone;
}

SEC("tc")
int answer(struct __sk_buff *skb)
{
	hidden_zero += 1;
	return hidden_function(visible_data) + weak_function(static_data) + static_alone;
}
