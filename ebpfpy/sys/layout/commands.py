"""The attributes of commands on maps, programs and objects; for links see `linkcommands`."""

from __future__ import annotations

from ctypes import Union, c_char, c_char_p, c_int32, c_uint32, c_uint64

from .attribute import NAME_SIZE, Attr


class MapCreate(Attr):
    """BPF_MAP_CREATE."""

    _fields_ = (
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),
        ("numa_node", c_uint32),
        ("map_name", c_char * NAME_SIZE),
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("map_extra", c_uint64),
        ("value_type_btf_obj_fd", c_int32),
        ("map_token_fd", c_int32),
        ("excl_prog_hash", c_char_p),
        ("excl_prog_hash_size", c_uint32),
    )


class MapElem(Attr):
    """BPF_MAP_*_ELEM; `value` is `next_key` of BPF_MAP_GET_NEXT_KEY. Also BPF_MAP_FREEZE."""

    _fields_ = (
        ("map_fd", c_uint32),
        ("key", c_char_p),
        ("value", c_char_p),
        ("flags", c_uint64),
    )


class MapBatch(Attr):
    """BPF_MAP_*_BATCH; `count` is read and written."""

    MEMBER = "batch"
    _fields_ = (
        ("in_batch", c_char_p),
        ("out_batch", c_char_p),
        ("keys", c_char_p),
        ("values", c_char_p),
        ("count", c_uint32),
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    )


class _AttachObject(Union):
    _fields_ = (("attach_prog_fd", c_uint32), ("attach_btf_obj_fd", c_uint32))


class ProgLoad(Attr):
    """BPF_PROG_LOAD; `log_true_size` is written (6.4)."""

    _anonymous_ = ("_attach_object",)
    _fields_ = (
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_char_p),
        ("license", c_char_p),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_char_p),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * NAME_SIZE),
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_char_p),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_char_p),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),
        ("_attach_object", _AttachObject),
        ("core_relo_cnt", c_uint32),
        ("fd_array", c_char_p),
        ("core_relos", c_char_p),
        ("core_relo_rec_size", c_uint32),
        ("log_true_size", c_uint32),
        ("prog_token_fd", c_int32),
        ("fd_array_cnt", c_uint32),
    )


class Obj(Attr):
    """BPF_OBJ_PIN and BPF_OBJ_GET."""

    _fields_ = (("pathname", c_char_p), ("bpf_fd", c_uint32), ("file_flags", c_uint32), ("path_fd", c_int32))


class ProgTestRun(Attr):
    """BPF_PROG_TEST_RUN; `retval`, `duration` and the two `..._out` sizes are written."""

    MEMBER = "test"
    _fields_ = (
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_char_p),
        ("data_out", c_char_p),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_char_p),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class GetId(Attr):
    """BPF_*_GET_NEXT_ID and BPF_*_GET_FD_BY_ID; `start_id` is also prog_id, map_id, btf_id, link_id."""

    _fields_ = (
        ("start_id", c_uint32),
        ("next_id", c_uint32),
        ("open_flags", c_uint32),
        ("fd_by_id_token_fd", c_int32),
    )


class InfoByFd(Attr):
    """BPF_OBJ_GET_INFO_BY_FD; `info_len` is read and written."""

    MEMBER = "info"
    _fields_ = (("bpf_fd", c_uint32), ("info_len", c_uint32), ("info", c_char_p))


class BtfLoad(Attr):
    """BPF_BTF_LOAD; `btf_log_true_size` is written (6.4)."""

    _fields_ = (
        ("btf", c_char_p),
        ("btf_log_buf", c_char_p),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("btf_log_true_size", c_uint32),
        ("btf_flags", c_uint32),
        ("btf_token_fd", c_int32),
    )


class EnableStats(Attr):
    """BPF_ENABLE_STATS."""

    MEMBER = "enable_stats"
    _fields_ = (("type", c_uint32),)


class TokenCreate(Attr):
    """BPF_TOKEN_CREATE."""

    MEMBER = "token_create"
    _fields_ = (("flags", c_uint32), ("bpffs_fd", c_uint32))


class ProgBindMap(Attr):
    """BPF_PROG_BIND_MAP."""

    MEMBER = "prog_bind_map"
    _fields_ = (("prog_fd", c_uint32), ("map_fd", c_uint32), ("flags", c_uint32))
