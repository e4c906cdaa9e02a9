"""fentry and fexit on functions of kernel modules, triggered for real; CO-RE on structs that only the module has."""

import errno
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf, core, link, sys
from ebpfpy.errors import AmbiguousTargetError, EbpfError, TargetNotFoundError, UnsupportedError
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import (
    EXIT,
    TESTDATA,
    collection_of,
    count,
    counting_collection,
    counting_program,
    path_of,
    read_events,
)


@pytest.fixture(autouse=True)
def module_tracing():
    features.require_module_tracing()


@pytest.fixture(scope="module", autouse=True)
def modules_are_unloaded_afterwards():
    with modules.unloaded_afterwards(*modules.USED):
        yield


def attach_all(collection, stack):
    return [stack.enter_context(link.attach(program)) for program in collection.programs.values()]


def member(kind, name):
    return next(each for each in kind.members if each.name == name)


# --- stock modules ------------------------------------------------------------------------------------


def test_fentry_and_fexit_on_tun_chr_open_read_struct_tun_file(cache, options):
    modules.load("tun")
    tun_file = cache.module("tun").type_by_name("tun_file", btf.Struct)
    assert not cache.kernel().any_types_by_name("tun_file")
    sk = member(tun_file, "sk")
    sndbuf = member(btf.resolve(sk.type), "sk_sndbuf")
    with ebpfpy.load_collection(path_of("tun.bpf.o"), options) as collection:
        entry, leave = collection.programs.values()
        assert {str(entry.target.module), str(leave.target.module)} == {"tun"}
        with link.attach(entry), link.attach(leave):
            triggers.open_tun()
        first, second = read_events(collection, os.getpid(), 2)
    everywhere = {
        "size": btf.sizeof(tun_file),
        "sk_offset": (sk.offset_bits + sndbuf.offset_bits) // 8,
        "exists": 1,
        "bogus": 0,
    }
    assert first == {"pid": os.getpid(), "at_exit": 0, "sk_sndbuf": 0, "ret": 0, "unused": 0, **everywhere}
    assert second == {"pid": os.getpid(), "at_exit": 1, "sk_sndbuf": 0x7FFFFFFF, "ret": 0, "unused": 0, **everywhere}


def test_fexit_on_loop_configure_reads_struct_loop_device(cache, options):
    modules.load("loop")
    assert cache.module("loop").type_by_name("loop_device", btf.Struct)
    assert not cache.kernel().any_types_by_name("loop_device")
    number = triggers.free_loop_device()
    with tempfile.NamedTemporaryFile(dir="/run", suffix=".img") as image:
        image.truncate(1 << 20)
        with ebpfpy.load_collection(path_of("loop.bpf.o"), options) as collection:
            where = ("-r", "-o", "4096", "--sizelimit", "65536")
            with (
                link.attach(collection.programs["loop_configured"]),
                triggers.loop_device(number, image.name, *where) as losetup,
            ):
                (event,) = read_events(collection, losetup, 1)
    assert event == {
        "offset": 4096,
        "sizelimit": 65536,
        "pid": losetup,
        "ret": 0,
        "number": number,
        "flags": 1,  # LO_FLAGS_READ_ONLY
        "file_name": image.name,
    }


def test_fexit_sees_the_error_that_loop_configure_returns(options):
    modules.load("loop")
    number = triggers.free_loop_device()
    with ebpfpy.load_collection(path_of("loop.bpf.o"), options) as collection:
        with link.attach(collection.programs["loop_configured"]):
            assert triggers.bind_nothing_to_loop_device(number) == errno.EBADF
        (event,) = read_events(collection, os.getpid(), 1)
    assert (event["ret"], event["number"], event["file_name"]) == (-errno.EBADF, number, "")


def test_fexit_on_veth_xmit_follows_struct_veth_priv_to_the_peer(cache, options):
    modules.load("veth")
    assert cache.module("veth").type_by_name("veth_priv", btf.Struct)
    assert not cache.kernel().any_types_by_name("veth_priv")
    with (
        ebpfpy.load_collection(path_of("veth.bpf.o"), options) as collection,
        triggers.veth_pair("ebpfpy0", "ebpfpy1") as (index, peer),
    ):
        with link.attach(collection.programs["veth_sent"]):
            length = triggers.send_datagram(b"x" * 321)
        (event,) = read_events(collection, os.getpid(), 1)
    assert event == {
        "pid": os.getpid(),
        "ret": 0,  # NETDEV_TX_OK
        "ifindex": index,
        "peer_ifindex": peer,
        "len": length,
        "name": "ebpfpy0",
    }


# --- our own module -----------------------------------------------------------------------------------

CONSTANT = {
    "magic": 0x1122334455667788,
    "wide": 0xABCDEF0123,
    "deep": -4194304,
    "mode_busy": 7,
    "mode_broken": -3,
    "ready": 1,
    "level": 1027,
    "drift": -9,
    "bias": -2049,
    "word": 0x04030201,
    "third_byte": 3,
    "tag": "hello-module",
    "next_tag": "second",
}


def test_our_own_module_is_read_exactly_bitfields_enumerators_and_return_values(cache, options):
    modules.reload(modules.DEMO)
    size = btf.sizeof(cache.module(modules.DEMO).type_by_name("ebpfpy_demo_state", btf.Struct))
    me = os.getpid()
    with ebpfpy.load_collection(path_of("kmod_demo.bpf.o"), options) as collection:
        programs = collection.programs
        assert programs["poke_entry"].spec.section == "fentry/ebpfpy_demo_poke"
        assert programs["poke_exit"].spec.section == "fexit/ebpfpy_demo:ebpfpy_demo_poke"
        with (
            link.attach(programs["poke_entry"]),
            link.attach(programs["poke_exit"]),
            link.attach(programs["clash_exit"]),
        ):
            triggers.poke(21)
            triggers.poke(-8)
        seen = read_events(collection, me, 6)
    always = {**CONSTANT, "own": 0, "pid": me, "size": size}
    fresh = {"hits": 0, "mode": 0, "is_busy": 0, "owner_tgid": 0}
    entered = {"kind": 0, "value": 21, "ret": 0, "history": [21, -2, 3, -4]}
    assert seen[0] == {**always, **fresh, **entered}
    busy = {"mode": 7, "is_busy": 1, "owner_tgid": me}
    left = {"kind": 1, "value": 21, "ret": 43, "hits": 1, "history": [21, -2, 3, -4]}
    assert seen[1] == {**always, **busy, **left}
    nothing = dict.fromkeys(seen[2], 0) | {"tag": "", "next_tag": "", "history": [0] * 4}
    assert seen[2] == {**nothing, "pid": me, "kind": 2, "value": 21, "ret": 26, "own": 0xB1C}
    assert seen[3] == {**always, **busy, "kind": 0, "value": -8, "ret": 0, "hits": 1, "history": [21, -8, 3, -4]}
    assert seen[4] == {**always, **busy, "kind": 1, "value": -8, "ret": -15, "hits": 2, "history": [21, -8, 3, -4]}
    assert seen[5] == {**nothing, "pid": me, "kind": 2, "value": -8, "ret": 18, "own": 0xB1C}


def test_a_member_that_only_the_modules_bictcp_has_is_read_from_the_module(cache):
    modules.load(modules.DEMO)
    assert btf.sizeof(cache.kernel().type_by_name("bictcp", btf.Struct)) == 60
    own = cache.module(modules.DEMO).type_by_name("bictcp", btf.Struct)
    assert btf.sizeof(own) == 16
    spec = ebpfpy.load_collection_spec(path_of("kmod_demo.bpf.o"))
    report = spec.relocate([cache.kernel(), cache.module(modules.DEMO)])
    (fixup,) = next(each for each in report.functions if each.name == "clash_exit").fixups
    assert (fixup.module, fixup.target_value, fixup.type_id) == (modules.DEMO, 0, own.spec.type_id(own))
    assert any("vmlinux" in str(candidate) for candidate in fixup.candidates)


def test_of_a_member_that_both_bictcp_have_the_one_is_meant_that_the_function_takes(cache):
    modules.load(modules.DEMO)
    spec = ebpfpy.load_collection_spec(path_of("bictcp.bpf.o"))
    kernel, demo = cache.kernel(), cache.module(modules.DEMO)
    (nobody,) = core.relocate(spec.programs["clash_count"].relocations, [kernel, demo], prefer_module=modules.DEMO)
    assert nobody.module is None
    assert {candidate.spec.name for candidate in nobody.candidates} == {"vmlinux", modules.DEMO}
    (fixup,) = spec.relocate([kernel, demo]).fixups
    assert (fixup.module, fixup.target_value) == (modules.DEMO, 8)
    assert fixup.target_value != nobody.target_value
    assert any("the arguments of ebpfpy_demo_clash lead to" in str(each) for each in fixup.candidates)


def test_a_program_reads_the_bictcp_that_the_function_was_given(options):
    modules.reload(modules.DEMO)
    with ebpfpy.load_collection(path_of("bictcp.bpf.o"), options) as collection:
        with link.attach(collection.programs["clash_count"]):
            triggers.poke(21)
        seen = collection.variables["clash_cnt"].get(), collection.variables["clash_ret"].get()
    assert seen == (26, 26)


# --- not loaded, loaded, loaded again -----------------------------------------------------------------


def test_a_function_of_a_module_that_is_not_loaded_is_not_found_and_is_after_modprobe(options):
    spec = ebpfpy.load_collection_spec(path_of("tun.bpf.o"))
    with modules.absent("tun"):
        with pytest.raises(TargetNotFoundError, match=r"tun:tun_chr_open: .*tun.* not loaded") as caught:
            ebpfpy.Collection(spec, options)
        assert (caught.value.name, caught.value.module) == ("tun_chr_open", "tun")
        assert caught.value.searched == ("tun",)

        unqualified = spec.copy()
        del unqualified.programs["tun_open_entry"]
        with pytest.raises(
            TargetNotFoundError, match=r"no function 'tun_chr_open': .*no loaded module has it"
        ) as caught:
            ebpfpy.Collection(unqualified, options)
        assert (caught.value.name, caught.value.module) == ("tun_chr_open", None)
        assert caught.value.searched == ("vmlinux", *modules.names())
        assert "no loaded module has it" in str(caught.value)
        assert isinstance(caught.value, LookupError)

        modules.load("tun")
        with ebpfpy.Collection(spec, options) as collection:  # the same call, the same cache
            assert str(collection.programs["tun_open_exit"].target).startswith("tun:tun_chr_open ")


def test_a_module_that_was_loaded_again_has_a_new_id_and_the_same_cache_finds_it(cache, options):
    spec = ebpfpy.load_collection_spec(path_of("kmod_demo.bpf.o"))
    seen = []
    for _ in range(3):
        modules.reload(modules.DEMO)
        with cache.module_handle(modules.DEMO) as handle:
            seen.append(handle.info.id)
        with ebpfpy.Collection(spec, options) as collection:
            poke = collection.programs["poke_exit"]
            with link.attach(poke) as attached:
                assert attached.info.target_obj_id in (seen[-1], 0)  # 0: kernels that do not say
                triggers.poke(4)
                (event,) = read_events(collection, os.getpid(), 1)
        assert (event["ret"], event["hits"]) == (9, 1)
    assert len(set(seen)) == 3


def test_a_module_cannot_be_unloaded_while_a_program_is_attached_to_it(options):
    modules.load(modules.DEMO)
    with (
        counting(options, "ebpfpy_demo_poke", modules.DEMO) as collection,
        link.attach(collection.programs["counts"]),
        pytest.raises(RuntimeError, match="in use"),
    ):
        modules.unload(modules.DEMO)
    modules.reload(modules.DEMO)


def test_a_loaded_module_without_types_says_so(options, tmp_path):
    modules.load(modules.DEMO)
    with modules.absent(modules.DEMO):
        bare = tmp_path / "ebpfpy_demo.ko"
        strip = ["objcopy", "--remove-section", ".BTF", "--remove-section", ".BTF.base"]
        subprocess.run([*strip, modules.demo_file(), str(bare)], check=True)
        subprocess.run(["insmod", str(bare)], check=True)
        try:
            with pytest.raises(TargetNotFoundError, match="ebpfpy_demo: it is loaded, but has no BTF"):
                counting(options, "ebpfpy_demo_poke", modules.DEMO)
            with pytest.raises(TargetNotFoundError, match="no function 'ebpfpy_demo_poke'"):
                counting(options, "ebpfpy_demo_poke")
        finally:
            modules.unload(modules.DEMO)


# --- names with several meanings ----------------------------------------------------------------------


def counting(options, *where, **more):
    return ebpfpy.Collection(counting_collection(*where, **more), options)


def test_a_function_that_vmlinux_and_a_module_have_is_ambiguous_and_both_are_listed(options):
    modules.load(modules.DEMO)
    with pytest.raises(AmbiguousTargetError, match="version_proc_show is found 2 times") as caught:
        counting(options, "version_proc_show")
    assert [text.split(" ")[0] for text in caught.value.candidates] == [
        "vmlinux:version_proc_show",
        "ebpfpy_demo:version_proc_show",
    ]
    assert set(caught.value.searched) == {"vmlinux", modules.DEMO}
    assert "MODULE:FUNCTION" in str(caught.value)


@pytest.mark.parametrize(
    ("module", "hit", "miss"),
    [
        ("ebpfpy_demo", "/proc/ebpfpy_demo", "/proc/version"),
        ("ebpfpy-demo", "/proc/ebpfpy_demo", "/proc/version"),
        ("vmlinux", "/proc/version", "/proc/ebpfpy_demo"),
    ],
)
def test_the_modules_name_says_which_of_two_functions_is_meant_or_the_kernel_cannot_tell(options, module, hit, miss):
    modules.load(modules.DEMO)
    if module != "vmlinux" and features.finds_functions_by_bare_name():
        with pytest.raises(UnsupportedError, match="may attach to vmlinux:version_proc_show") as caught:
            counting(options, "version_proc_show", module)
        assert caught.value.minimum == "6.4"
        return
    with counting(options, "version_proc_show", module) as collection:
        with link.attach(collection.programs["counts"]):
            triggers.read_file(miss)
            assert count(collection) == 0
            triggers.read_file(hit)
        assert count(collection) >= 1
        assert collection.programs["counts"].target.module == (None if module == "vmlinux" else "ebpfpy_demo")


def test_a_section_of_an_object_can_be_sent_elsewhere_by_editing_a_copy(options):
    modules.load(modules.DEMO)
    original = counting_program("ebpfpy_demo_poke", modules.DEMO)
    elsewhere = original.copy()
    elsewhere.attach_to, elsewhere.attach_module = "ebpfpy_demo_clash", None
    counter = counting_collection("x").maps["counter"]
    with ebpfpy.Collection(collection_of(elsewhere, maps=[counter]), options) as collection:
        assert collection.programs["counts"].target.name == "ebpfpy_demo_clash"
    assert (original.attach_to, original.attach_module) == ("ebpfpy_demo_poke", "ebpfpy_demo")


@pytest.mark.parametrize("module", ["tunx", "t", "", "tu", "tun ", "../tun", "tun/..", "vmlinu"])
def test_a_module_name_is_taken_whole_and_literally(options, module):
    modules.load("tun")
    with pytest.raises(EbpfError) as caught:
        counting(options, "tun_chr_open", module)
    assert isinstance(caught.value, TargetNotFoundError)
    assert caught.value.module == module


def test_a_function_that_the_named_module_has_not_is_an_error_with_its_neighbours(options):
    modules.load("tun")
    with pytest.raises(TargetNotFoundError, match="tun:tun_chr_opne: tun has no function 'tun_chr_opne'") as caught:
        counting(options, "tun_chr_opne", "tun")
    assert "tun_chr_open" in str(caught.value)
    with pytest.raises(TargetNotFoundError, match="vmlinux has no function 'tun_chr_open'"):
        counting(options, "tun_chr_open", "vmlinux")


def test_a_module_that_only_uses_a_function_is_no_place_to_find_it(options):
    modules.load("tun")
    with pytest.raises(TargetNotFoundError, match="tun has no function 'do_nanosleep'"):
        counting(options, "do_nanosleep", "tun")


# --- types from elsewhere -----------------------------------------------------------------------------


@pytest.fixture
def type_files(tmp_path):
    """The running kernel's types as files: what a user brings from another machine."""
    modules.load("tun")
    for name in ("vmlinux", "tun"):
        (tmp_path / f"{name}.btf").write_bytes(Path(f"/sys/kernel/btf/{name}").read_bytes())
    return tmp_path


def numbers(fixups):
    return [(fixup.kind, fixup.local, fixup.local_value, fixup.target_value, fixup.module) for fixup in fixups]


def test_types_read_from_files_relocate_as_the_kernels_own_do_online_and_offline(options, cache, type_files):
    vmlinux = btf.load_spec(type_files / "vmlinux.btf")
    with (type_files / "tun.btf").open("rb") as reader:
        tun = btf.load_split_spec_from_reader(reader, vmlinux)
    given = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(kernel_types=[vmlinux, tun]), cache=cache)
    spec = ebpfpy.load_collection_spec(path_of("tun.bpf.o"))
    with ebpfpy.Collection(spec, given) as collection:
        with link.attach(collection.programs["tun_open_exit"]):
            triggers.open_tun()
        (event,) = read_events(collection, os.getpid(), 1)
        assert event["sk_sndbuf"] == 0x7FFFFFFF
        online = {name: numbers(program.fixups) for name, program in collection.programs.items()}
    with ebpfpy.Collection(spec, options) as collection:
        assert {name: numbers(program.fixups) for name, program in collection.programs.items()} == online
    offline = spec.relocate([vmlinux, tun])
    assert {function.name: numbers(function.fixups) for function in offline.functions} == online
    assert any(fixup.module == "tun" for fixup in offline.fixups)
    assert not offline.poisoned


def test_the_committed_types_of_this_release_are_those_that_the_kernel_shows(cache):
    directory = TESTDATA / "btf" / features.RELEASE
    if not directory.is_dir():
        pytest.skip(f"no committed types of {features.RELEASE}")
    modules.load("tun")
    vmlinux = btf.load_spec(directory / "vmlinux.btf.xz")
    assert bytes(vmlinux.raw) == bytes(cache.kernel().raw)
    tun = btf.load_split_spec(directory / "tun.btf.xz", vmlinux)
    assert bytes(tun.raw) == bytes(cache.module("tun").raw)
    spec = ebpfpy.load_collection_spec(path_of("tun.bpf.o"))
    here = spec.relocate([cache.kernel(), cache.module("tun")])
    assert numbers(spec.relocate([vmlinux, tun]).fixups) == numbers(here.fixups)


def test_types_that_a_user_gives_never_serve_attach_targets(cache, type_files):
    vmlinux = btf.load_spec(type_files / "vmlinux.btf")
    tun = btf.load_split_spec(type_files / "tun.btf", vmlinux)
    given = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(kernel_types=[vmlinux, tun]), cache=cache)
    with modules.absent("tun"), pytest.raises(TargetNotFoundError):
        ebpfpy.load_collection(path_of("tun.bpf.o"), given)


def test_without_the_modules_types_its_fields_have_no_answer(cache, type_files):
    vmlinux = btf.load_spec(type_files / "vmlinux.btf")
    given = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(kernel_types=[vmlinux]), cache=cache)
    with pytest.raises(ebpfpy.VerifierError, match=r"CO-RE relocation byte_off of .*struct tun_file\.sk\.sk_sndbuf"):
        ebpfpy.load_collection(path_of("tun.bpf.o"), given)


def test_a_load_walks_the_ids_once_and_only_for_modules():
    modules.load(modules.DEMO)
    own = btf.Cache()
    with ebpfpy.load_collection(path_of("kmod_demo.bpf.o"), ebpfpy.CollectionOptions(cache=own)) as collection:
        assert len(collection.programs) == 3
        assert own.walks == 1
    with counting(ebpfpy.CollectionOptions(cache=own), "ebpfpy_demo_poke", attach_type=EXIT):
        assert own.walks == 1
    fresh = btf.Cache()
    with counting(ebpfpy.CollectionOptions(cache=fresh), "do_nanosleep"):
        assert fresh.walks == 0


def test_a_program_whose_module_was_loaded_anew_is_kept_with_it_or_refused_before_it_attaches(options):
    modules.reload(modules.DEMO)
    with counting(options, "ebpfpy_demo_poke", modules.DEMO) as collection:
        program = collection.programs["counts"]
        try:
            modules.reload(modules.DEMO)
        except RuntimeError:  # since Linux 6.4 the program keeps the module
            assert modules.is_loaded(modules.DEMO)
            with link.attach(program):
                triggers.poke(1)
            assert count(collection) == 1
        else:
            with pytest.raises(TargetNotFoundError, match="since the program was loaded: load it again") as caught:
                link.attach(program)
            assert caught.value.module == modules.DEMO
    with counting(options, "ebpfpy_demo_poke", modules.DEMO) as collection, link.attach(collection.programs["counts"]):
        triggers.poke(1)
        assert count(collection) == 1


def test_the_kernel_knows_the_target_as_the_library_does(cache, options):
    modules.load(modules.DEMO)
    with counting(options, "ebpfpy_demo_poke") as collection, cache.module_handle(modules.DEMO) as handle:
        program = collection.programs["counts"]
        info = program.info
        assert info.attach_btf_id in (program.target.type_id, 0)  # 0: kernels that do not say
        assert info.attach_btf_obj_id in (handle.info.id, 0)
        with link.attach(program) as attached:
            assert attached.info.type == sys.LinkType.TRACING
            assert attached.info.attach_type == sys.AttachType.TRACE_FENTRY
            assert attached.info.target_btf_id in (program.target.type_id, 0)
