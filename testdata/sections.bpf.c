// SPDX-License-Identifier: MIT
/* Section names: with and without a target, sleepable, module-qualified, unknown; pointers with initial values. For
 * inspection, never loaded.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

const char *names[2] = { "a", "bc" }; /* addresses, which nobody fills in */

#define PROGRAM(section, name)                                                                                 \
	SEC(section) int name(void *ctx)                                                                       \
	{                                                                                                      \
		return 0;                                                                                      \
	}

PROGRAM("socket", p_socket)
PROGRAM("xdp", p_xdp)
PROGRAM("xdp.frags/devmap", p_xdp_frags_devmap)
PROGRAM("tc", p_tc)
PROGRAM("tcx/ingress", p_tcx_ingress)
PROGRAM("kprobe/vfs_read", p_kprobe)
PROGRAM("kretprobe/vfs_read", p_kretprobe)
PROGRAM("kprobe.multi/vfs_*", p_kprobe_multi)
PROGRAM("uprobe.s//bin/true:main", p_uprobe)
PROGRAM("tp/syscalls/sys_enter_openat", p_tracepoint)
PROGRAM("fentry.s/vfs_read", p_fentry_sleepable)
PROGRAM("fmod_ret/nf_conntrack:nf_ct_delete", p_fmod_ret_module)
PROGRAM("lsm.s/bpf", p_lsm)
PROGRAM("iter/task", p_iter)
PROGRAM("freplace/handler", p_freplace)
PROGRAM("cgroup_skb/egress", p_cgroup_skb)
PROGRAM("cgroup/connect4", p_connect4)
PROGRAM("syscall", p_syscall)
PROGRAM("?fexit/vfs_write", p_optional)
PROGRAM("mystery/section", p_unknown)
