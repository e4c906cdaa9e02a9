// SPDX-License-Identifier: MIT
/* Counts how often each kind of probe ran in one process, and with which cookie.
 *
 * Shows: kprobes, kretprobes, system calls, tracepoints, perf events, kprobe.multi, kprobe.session; uprobes likewise.
 * Trigger: what the section says, in the process whose id is in `wanted` (0: any).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 wanted = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} runs SEC(".maps");

/* Count a run under `key`. */
static __always_inline void count(__u64 key)
{
	__u64 one = 1, *seen;

	if (wanted && current_pid() != wanted)
		return;
	seen = bpf_map_lookup_elem(&runs, &key);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&runs, &key, &one, BPF_ANY);
}

#define COUNTS(section, name)                                                                                  \
	SEC(section) int name(void *ctx)                                                                       \
	{                                                                                                      \
		count(bpf_get_attach_cookie(ctx));                                                             \
		return 0;                                                                                      \
	}

/* The same without a cookie, for kernels before 5.15. */
#define COUNTS_PLAIN(section, name)                                                                            \
	SEC(section) int name(void *ctx)                                                                       \
	{                                                                                                      \
		count(0);                                                                                      \
		return 0;                                                                                      \
	}

COUNTS_PLAIN("?kprobe/do_nanosleep", kprobe_plain)
COUNTS_PLAIN("?kretprobe/do_nanosleep", kretprobe_plain)
COUNTS_PLAIN("?ksyscall/getppid", ksyscall_plain)
COUNTS_PLAIN("?kretsyscall/getppid", kretsyscall_plain)
COUNTS_PLAIN("?tp/syscalls/sys_enter_getppid", tracepoint_plain)
COUNTS_PLAIN("?uprobe", uprobe_plain)
COUNTS_PLAIN("?uretprobe", uretprobe_plain)
COUNTS_PLAIN("?uprobe/libc.so.6:getppid", uprobe_section)
COUNTS_PLAIN("?perf_event", perf_event_plain)

COUNTS("?kprobe", kprobe_cookie)
COUNTS("?kretprobe", kretprobe_cookie)
COUNTS("?tracepoint", tracepoint_cookie)
COUNTS("?uprobe", uprobe_cookie)
COUNTS("?perf_event", perf_event_cookie)
COUNTS("?kprobe.multi/do_nanosle*", kprobe_multi)
COUNTS("?kretprobe.multi", kretprobe_multi)
COUNTS("?kprobe.session/do_nanosleep", kprobe_session)
COUNTS("?uprobe.multi", uprobe_multi)
COUNTS("?uretprobe.multi", uretprobe_multi)
COUNTS("?uprobe.session", uprobe_session)
