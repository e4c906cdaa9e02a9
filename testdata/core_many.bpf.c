// SPDX-License-Identifier: MIT
/* Many CO-RE relocations: the offset of each of 534 fields of 23 structures of the kernel.
 *
 * Shows: what relocating costs when there is much of it (bench/). One program for each structure.
 * Read only: where a kernel lacks one of the fields, the verifier refuses that program.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

__u64 sums[23];

#define DECLARE(type, name) type name;
/* The barrier keeps the compiler from adding the offsets up before they are relocated. */
#define OFFSET(type, name) \
	sum += __builtin_preserve_field_info(pointer->name, BPF_FIELD_BYTE_OFFSET); \
	asm volatile("" : "+r"(sum));

#define PROBE(number, structure, FIELDS) \
	struct structure { \
		FIELDS(DECLARE) \
	} __attribute__((preserve_access_index)); \
	SEC("raw_tp/sys_enter") \
	int many_##structure(void *ctx) \
	{ \
		struct structure *pointer = ctx; \
		__u64 sum = 0; \
		FIELDS(OFFSET) \
		sums[number] = sum; \
		return 0; \
	}

#define TASK_STRUCT(_) \
	_(unsigned int, __state) _(unsigned int, saved_state) _(void *, stack) _(unsigned int, flags) \
	_(unsigned int, ptrace) _(int, on_cpu) _(unsigned int, wakee_flips) \
	_(unsigned long, wakee_flip_decay_ts) _(void *, last_wakee) _(int, recent_used_cpu) _(int, wake_cpu) \
	_(int, on_rq) _(int, prio) _(int, static_prio) _(int, normal_prio) _(unsigned int, rt_priority) \
	_(void *, dl_server) _(void *, sched_class) _(void *, sched_task_group) _(unsigned int, btrace_seq) \
	_(unsigned int, policy) _(unsigned long, max_allowed_capacity) _(int, nr_cpus_allowed) \
	_(void *, cpus_ptr) _(void *, user_cpus_ptr) _(void *, migration_pending) \
	_(unsigned short, migration_disabled) _(unsigned short, migration_flags) _(int, rcu_read_lock_nesting) \
	_(void *, rcu_blocked_node) _(unsigned long, rcu_tasks_nvcsw) _(unsigned char, rcu_tasks_holdout) \
	_(unsigned char, rcu_tasks_idx) _(int, rcu_tasks_idle_cpu) _(int, rcu_tasks_exit_cpu) \
	_(int, trc_reader_nesting) _(int, trc_ipi_to_cpu)

#define MM_STRUCT(_) \
	_(unsigned long, mmap_base) _(unsigned long, mmap_legacy_base) _(unsigned long, mmap_compat_base) \
	_(unsigned long, mmap_compat_legacy_base) _(unsigned long, task_size) _(void *, pgd) \
	_(void *, pcpu_cid) _(unsigned long, mm_cid_next_scan) _(int, map_count) _(unsigned long, hiwater_rss) \
	_(unsigned long, hiwater_vm) _(unsigned long, total_vm) _(unsigned long, locked_vm) \
	_(unsigned long, data_vm) _(unsigned long, exec_vm) _(unsigned long, stack_vm) \
	_(unsigned long, def_flags) _(unsigned long, start_code) _(unsigned long, end_code) \
	_(unsigned long, start_data) _(unsigned long, end_data) _(unsigned long, start_brk) \
	_(unsigned long, brk) _(unsigned long, start_stack) _(unsigned long, arg_start) \
	_(unsigned long, arg_end) _(unsigned long, env_start) _(unsigned long, env_end) _(void *, binfmt) \
	_(unsigned long, flags) _(void *, ioctx_table) _(void *, owner) _(void *, user_ns) _(void *, exe_file) \
	_(void *, notifier_subscriptions) _(unsigned long, numa_next_scan) _(unsigned long, numa_scan_offset)

#define VM_AREA_STRUCT(_) \
	_(unsigned long, vm_start) _(unsigned long, vm_end) _(void *, vm_mm) _(unsigned long, vm_flags) \
	_(unsigned long, __vm_flags) _(unsigned char, detached) _(unsigned int, vm_lock_seq) _(void *, vm_lock) \
	_(void *, anon_vma) _(void *, vm_ops) _(unsigned long, vm_pgoff) _(void *, vm_file) \
	_(void *, vm_private_data) _(void *, vm_policy) _(void *, numab_state)

#define FILE(_) \
	_(unsigned int, f_mode) _(void *, f_op) _(void *, f_mapping) _(void *, private_data) _(void *, f_inode) \
	_(unsigned int, f_flags) _(unsigned int, f_iocb_flags) _(void *, f_cred) _(unsigned long, f_pipe) \
	_(long, f_pos) _(void *, f_security) _(void *, f_owner) _(unsigned int, f_wb_err) \
	_(unsigned int, f_sb_err) _(void *, f_ep)

#define INODE(_) \
	_(unsigned short, i_mode) _(unsigned short, i_opflags) _(unsigned int, i_flags) _(void *, i_acl) \
	_(void *, i_default_acl) _(void *, i_op) _(void *, i_sb) _(void *, i_mapping) _(void *, i_security) \
	_(unsigned long, i_ino) _(unsigned int, i_nlink) _(unsigned int, __i_nlink) _(unsigned int, i_rdev) \
	_(long, i_size) _(long, i_atime_sec) _(long, i_mtime_sec) _(long, i_ctime_sec) \
	_(unsigned int, i_atime_nsec) _(unsigned int, i_mtime_nsec) _(unsigned int, i_ctime_nsec) \
	_(unsigned int, i_generation) _(unsigned short, i_bytes) _(unsigned char, i_blkbits) \
	_(unsigned long, i_blocks) _(unsigned int, i_state) _(unsigned long, dirtied_when) \
	_(unsigned long, dirtied_time_when) _(void *, i_wb) _(int, i_wb_frn_winner) \
	_(unsigned short, i_wb_frn_avg_time) _(unsigned short, i_wb_frn_history) _(void *, i_fop) \
	_(void *, free_inode) _(void *, i_flctx) _(void *, i_pipe) _(void *, i_cdev) _(void *, i_link)

#define DENTRY(_) \
	_(unsigned int, d_flags) _(void *, d_parent) _(void *, d_inode) _(void *, d_op) _(void *, d_sb) \
	_(unsigned long, d_time) _(void *, d_fsdata) _(void *, d_wait)

#define SUPER_BLOCK(_) \
	_(unsigned int, s_dev) _(unsigned char, s_blocksize_bits) _(unsigned long, s_blocksize) \
	_(long, s_maxbytes) _(void *, s_type) _(void *, s_op) _(void *, dq_op) _(void *, s_qcop) \
	_(void *, s_export_op) _(unsigned long, s_flags) _(unsigned long, s_iflags) _(unsigned long, s_magic) \
	_(void *, s_root) _(int, s_count) _(void *, s_security) _(void *, s_xattr) _(void *, s_cop) \
	_(void *, s_master_keys) _(void *, s_vop) _(void *, s_encoding) _(unsigned short, s_encoding_flags) \
	_(void *, s_bdev) _(void *, s_bdev_file) _(void *, s_bdi) _(void *, s_mtd) \
	_(unsigned int, s_quota_types) _(void *, s_fs_info) _(unsigned int, s_time_gran) _(long, s_time_min) \
	_(long, s_time_max) _(unsigned int, s_fsnotify_mask) _(void *, s_fsnotify_info) \
	_(unsigned char, s_uuid_len) _(unsigned int, s_max_links) _(void *, s_subtype) _(void *, s_d_op) \
	_(void *, s_shrink)

#define SK_BUFF(_) \
	_(void *, next) _(void *, prev) _(void *, dev) _(unsigned long, dev_scratch) _(void *, sk) \
	_(long, tstamp) _(unsigned long, skb_mstamp_ns) _(unsigned long, _skb_refdst) _(void *, destructor) \
	_(unsigned long, _sk_redir) _(unsigned long, _nfct) _(unsigned int, len) _(unsigned int, data_len) \
	_(unsigned short, mac_len) _(unsigned short, hdr_len) _(unsigned short, queue_mapping) \
	_(unsigned char, active_extensions) _(unsigned short, tc_index) _(unsigned short, alloc_cpu) \
	_(unsigned int, csum) _(unsigned short, csum_start) _(unsigned short, csum_offset) \
	_(unsigned int, priority) _(int, skb_iif) _(unsigned int, hash) _(unsigned int, vlan_all) \
	_(unsigned short, vlan_proto) _(unsigned short, vlan_tci) _(unsigned int, napi_id) \
	_(unsigned int, sender_cpu) _(unsigned int, secmark) _(unsigned int, mark) \
	_(unsigned int, reserved_tailroom) _(unsigned short, inner_protocol) _(unsigned char, inner_ipproto) \
	_(unsigned short, inner_transport_header) _(unsigned short, inner_network_header)

#define SOCK(_) \
	_(int, sk_peek_off) _(void *, sk_rx_dst) _(int, sk_rx_dst_ifindex) _(unsigned int, sk_rx_dst_cookie) \
	_(unsigned int, sk_ll_usec) _(unsigned int, sk_napi_id) _(unsigned short, sk_busy_poll_budget) \
	_(unsigned char, sk_prefer_busy_poll) _(unsigned char, sk_userlocks) _(int, sk_rcvbuf) \
	_(void *, sk_filter) _(void *, sk_wq) _(void *, sk_wq_raw) _(void *, sk_data_ready) \
	_(long, sk_rcvtimeo) _(int, sk_rcvlowat) _(int, sk_err) _(void *, sk_socket) _(void *, sk_memcg) \
	_(unsigned int, sk_reserved_mem) _(int, sk_forward_alloc) _(unsigned int, sk_tsflags) \
	_(int, sk_write_pending) _(int, sk_sndbuf) _(int, sk_wmem_queued) _(unsigned long, sk_tsq_flags) \
	_(void *, sk_send_head) _(unsigned int, sk_dst_pending_confirm) _(unsigned int, sk_pacing_status) \
	_(unsigned long, sk_pacing_rate) _(unsigned long, sk_max_pacing_rate) _(long, sk_sndtimeo) \
	_(unsigned int, sk_priority) _(unsigned int, sk_mark) _(void *, sk_dst_cache) \
	_(unsigned long, sk_route_caps) _(void *, sk_validate_xmit_skb)

#define TCP_SOCK(_) \
	_(unsigned int, max_window) _(unsigned int, rcv_ssthresh) _(unsigned int, reordering) \
	_(unsigned int, notsent_lowat) _(unsigned short, gso_segs) _(void *, lost_skb_hint) \
	_(void *, retransmit_skb_hint) _(unsigned int, tsoffset) _(unsigned int, snd_wnd) \
	_(unsigned int, mss_cache) _(unsigned int, snd_cwnd) _(unsigned int, prr_out) _(unsigned int, lost_out) \
	_(unsigned int, sacked_out) _(unsigned short, tcp_header_len) _(unsigned char, scaling_ratio) \
	_(unsigned int, copied_seq) _(unsigned int, rcv_tstamp) _(unsigned int, snd_wl1) \
	_(unsigned int, tlp_high_seq) _(unsigned int, rttvar_us) _(unsigned int, retrans_out) \
	_(unsigned short, advmss) _(unsigned short, urg_data) _(unsigned int, lost) \
	_(unsigned int, snd_ssthresh) _(unsigned int, segs_out) _(unsigned int, data_segs_out) \
	_(unsigned long, bytes_sent) _(unsigned int, snd_sml) _(unsigned int, chrono_start) \
	_(unsigned int, write_seq) _(unsigned int, pushed_seq) _(unsigned int, lsndtime) \
	_(unsigned int, mdev_us) _(unsigned int, rtt_seq) _(unsigned long, tcp_wstamp_ns)

#define NET_DEVICE(_) \
	_(void *, netdev_ops) _(void *, header_ops) _(void *, _tx) _(unsigned long, gso_partial_features) \
	_(unsigned int, real_num_tx_queues) _(unsigned int, gso_max_size) _(unsigned int, gso_ipv4_max_size) \
	_(unsigned short, gso_max_segs) _(short, num_tc) _(unsigned int, mtu) \
	_(unsigned short, needed_headroom) _(void *, nf_hooks_egress) _(void *, tcx_egress) _(void *, lstats) \
	_(void *, tstats) _(void *, dstats) _(unsigned long, state) _(unsigned int, flags) \
	_(unsigned short, hard_header_len) _(unsigned long, features) _(void *, ip6_ptr) _(void *, xdp_prog) \
	_(int, ifindex) _(unsigned int, real_num_rx_queues) _(void *, _rx) _(unsigned long, gro_flush_timeout) \
	_(unsigned int, napi_defer_hard_irqs) _(unsigned int, gro_max_size) _(unsigned int, gro_ipv4_max_size) \
	_(void *, rx_handler) _(void *, rx_handler_data) _(void *, npinfo) _(void *, tcx_ingress) \
	_(void *, name_node) _(void *, ifalias) _(unsigned long, mem_end) _(unsigned long, mem_start)

#define CRED(_) \
	_(unsigned int, securebits) _(unsigned char, jit_keyring) _(void *, session_keyring) \
	_(void *, process_keyring) _(void *, thread_keyring) _(void *, request_key_auth) _(void *, security) \
	_(void *, user) _(void *, user_ns) _(void *, ucounts) _(void *, group_info) _(int, non_rcu)

#define PID(_) \
	_(unsigned int, level) _(void *, stashed) _(unsigned long, ino)

#define SIGNAL_STRUCT(_) \
	_(int, nr_threads) _(int, quick_threads) _(void *, curr_target) _(int, group_exit_code) \
	_(int, notify_count) _(void *, group_exec_task) _(int, group_stop_count) _(unsigned int, flags) \
	_(void *, core_state) _(unsigned int, next_posix_timer_id) _(long, it_real_incr) \
	_(void *, tty_old_pgrp) _(int, leader) _(void *, tty) _(void *, autogroup) _(unsigned long, utime) \
	_(unsigned long, stime) _(unsigned long, cutime) _(unsigned long, cstime) _(unsigned long, gtime) \
	_(unsigned long, cgtime) _(unsigned long, nvcsw) _(unsigned long, nivcsw) _(unsigned long, cnvcsw) \
	_(unsigned long, cnivcsw) _(unsigned long, min_flt) _(unsigned long, maj_flt) \
	_(unsigned long, cmin_flt) _(unsigned long, cmaj_flt) _(unsigned long, inblock) \
	_(unsigned long, oublock) _(unsigned long, cinblock) _(unsigned long, coublock) \
	_(unsigned long, maxrss) _(unsigned long, cmaxrss) _(unsigned long, sum_sched_runtime) _(void *, stats)

#define FILES_STRUCT(_) \
	_(unsigned char, resize_in_progress) _(void *, fdt) _(unsigned int, next_fd)

#define FS_STRUCT(_) \
	_(int, users) _(int, umask) _(int, in_exec)

#define NSPROXY(_) \
	_(void *, uts_ns) _(void *, ipc_ns) _(void *, mnt_ns) _(void *, pid_ns_for_children) _(void *, net_ns) \
	_(void *, time_ns) _(void *, time_ns_for_children) _(void *, cgroup_ns)

#define REQUEST(_) \
	_(void *, q) _(void *, mq_ctx) _(void *, mq_hctx) _(unsigned int, cmd_flags) _(unsigned int, rq_flags) \
	_(int, tag) _(int, internal_tag) _(unsigned int, timeout) _(unsigned int, __data_len) \
	_(unsigned long, __sector) _(void *, bio) _(void *, biotail) _(void *, rq_next) _(void *, part) \
	_(unsigned long, alloc_time_ns) _(unsigned long, start_time_ns) _(unsigned long, io_start_time_ns) \
	_(unsigned short, wbt_flags) _(unsigned short, stats_sectors) _(unsigned short, nr_phys_segments) \
	_(unsigned short, nr_integrity_segments) _(unsigned long, deadline) _(unsigned long, fifo_time) \
	_(void *, end_io) _(void *, end_io_data)

#define BIO(_) \
	_(void *, bi_next) _(void *, bi_bdev) _(unsigned int, bi_opf) _(unsigned short, bi_flags) \
	_(unsigned short, bi_ioprio) _(unsigned char, bi_status) _(unsigned int, bi_cookie) \
	_(unsigned int, __bi_nr_segments) _(void *, bi_end_io) _(void *, bi_private) _(void *, bi_blkg) \
	_(unsigned long, bi_iocost_cost) _(void *, bi_integrity) _(unsigned short, bi_vcnt) \
	_(unsigned short, bi_max_vecs) _(void *, bi_io_vec) _(void *, bi_pool)

#define BLOCK_DEVICE(_) \
	_(unsigned long, bd_start_sect) _(unsigned long, bd_nr_sectors) _(void *, bd_disk) _(void *, bd_queue) \
	_(void *, bd_stats) _(unsigned long, bd_stamp) _(unsigned int, bd_dev) _(void *, bd_mapping) \
	_(void *, bd_claiming) _(void *, bd_holder) _(void *, bd_holder_ops) _(int, bd_holders) \
	_(void *, bd_holder_dir) _(void *, bd_meta_info) _(int, bd_writers) _(void *, bd_security)

#define PAGE(_) \
	_(unsigned long, flags) _(void *, __filler) _(unsigned int, mlock_count) _(void *, mapping) \
	_(unsigned long, index) _(unsigned long, share) _(unsigned long, private) _(unsigned long, pp_magic) \
	_(void *, pp) _(unsigned long, _pp_mapping_pad) _(unsigned long, dma_addr) \
	_(unsigned long, compound_head) _(void *, pgmap) _(void *, zone_device_data) _(unsigned int, page_type) \
	_(unsigned long, memcg_data)

#define CGROUP(_) \
	_(unsigned long, flags) _(int, level) _(int, max_depth) _(int, nr_descendants) \
	_(int, nr_dying_descendants) _(int, max_descendants) _(int, nr_populated_csets) \
	_(int, nr_populated_domain_children) _(int, nr_populated_threaded_children) \
	_(int, nr_threaded_children) _(unsigned int, kill_seq) _(void *, kn) _(unsigned short, subtree_control) \
	_(unsigned short, subtree_ss_mask) _(unsigned short, old_subtree_control) \
	_(unsigned short, old_subtree_ss_mask) _(void *, root) _(void *, dom_cgrp) _(void *, old_dom_cgrp) \
	_(void *, rstat_cpu) _(void *, rstat_flush_next) _(void *, psi) _(void *, bpf_cgrp_storage)

#define PERF_EVENT(_) \
	_(unsigned long, group_index) _(int, nr_siblings) _(int, event_caps) _(int, group_caps) \
	_(unsigned int, group_generation) _(void *, group_leader) _(void *, pmu) _(void *, pmu_private) \
	_(unsigned int, attach_state) _(unsigned long, total_time_enabled) _(unsigned long, total_time_running) \
	_(unsigned long, tstamp) _(unsigned short, header_size) _(unsigned short, id_header_size) \
	_(unsigned short, read_size) _(void *, ctx) _(void *, pmu_ctx) _(void *, parent) _(int, oncpu) \
	_(int, cpu) _(void *, owner) _(void *, rb) _(unsigned long, rcu_batches) _(int, rcu_pending) \
	_(void *, fasync) _(unsigned int, pending_wakeup) _(unsigned int, pending_kill) \
	_(unsigned int, pending_disable) _(unsigned long, pending_addr) _(unsigned int, pending_work) \
	_(void *, addr_filter_ranges) _(unsigned long, addr_filters_gen) _(void *, aux_event) \
	_(void *, destroy) _(void *, ns) _(unsigned long, id) _(void *, clock)

PROBE(0, task_struct, TASK_STRUCT)
PROBE(1, mm_struct, MM_STRUCT)
PROBE(2, vm_area_struct, VM_AREA_STRUCT)
PROBE(3, file, FILE)
PROBE(4, inode, INODE)
PROBE(5, dentry, DENTRY)
PROBE(6, super_block, SUPER_BLOCK)
PROBE(7, sk_buff, SK_BUFF)
PROBE(8, sock, SOCK)
PROBE(9, tcp_sock, TCP_SOCK)
PROBE(10, net_device, NET_DEVICE)
PROBE(11, cred, CRED)
PROBE(12, pid, PID)
PROBE(13, signal_struct, SIGNAL_STRUCT)
PROBE(14, files_struct, FILES_STRUCT)
PROBE(15, fs_struct, FS_STRUCT)
PROBE(16, nsproxy, NSPROXY)
PROBE(17, request, REQUEST)
PROBE(18, bio, BIO)
PROBE(19, block_device, BLOCK_DEVICE)
PROBE(20, page, PAGE)
PROBE(21, cgroup, CGROUP)
PROBE(22, perf_event, PERF_EVENT)
