"""Attach targets by the kernel's own search: the same answers as by looking, and what is left unread for them."""

import subprocess
import sys as python
from collections import Counter
from contextlib import contextmanager

import pytest

import ebpfpy
from ebpfpy import btf, link, sys
from ebpfpy.btf.kernelsearch import KernelSearch
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.namesakes import Blob, Namesakes
from ebpfpy.errors import AmbiguousTargetError, EbpfError, TargetNotFoundError, UnsupportedError
from ebpfpy.loader import find_target
from ebpfpy.loader.quicktarget import QuickTargets
from ebpfpy.sys import AttachType
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import EXIT, collection_of, count, counting_collection, counting_program, path_of

NOWHERE = 1 << 20  # no descriptor
FUNCTIONS = ("do_nanosleep", "vfs_read", "tcp_v4_connect", "ksys_read", "do_exit")
HOOKS = (
    (AttachType.TRACE_RAW_TP, "sched_switch"),
    (AttachType.TRACE_RAW_TP, "sys_enter"),
    (AttachType.LSM_MAC, "file_open"),
    (AttachType.TRACE_ITER, "task"),
    (AttachType.TRACE_ITER, "bpf_map"),
)


@pytest.fixture(scope="module")
def searches():
    """The kernel can be asked."""
    features.since("5.14", features.no_search())


@contextmanager
def fresh():
    """A cache that nobody has used, and what asks the kernel for it."""
    cache = btf.Cache()
    with QuickTargets(cache) as quick:
        yield cache, quick
    vars(cache).clear()  # types that are mapped hold a descriptor


def times_of_functions(spec):
    """How many functions of a spec have each name."""
    return Counter(each.name for each in spec if isinstance(each, btf.Func))


@pytest.fixture
def walked(monkeypatch):
    """The specs whose records are walked over, from now on."""
    seen = []
    grow = btf.Spec._grow

    def noted(spec, limit):
        if spec._frontier < limit:
            seen.append(spec.name)
        grow(spec, limit)

    monkeypatch.setattr(btf.Spec, "_grow", noted)
    return seen


# --- the kernel's answers -----------------------------------------------------------------------------


def test_the_kernel_finds_the_ids_that_its_types_have(cache, searches):
    kernel = cache.kernel()
    asked = [(name, Kind.FUNC) for name in FUNCTIONS]
    asked += [("task_struct", Kind.STRUCT), ("btf_trace_sched_switch", Kind.TYPEDEF), ("bpf_attr", Kind.UNION)]
    with KernelSearch() as search:
        for name, kind in asked:
            ids = kernel.ids_by_name(name.encode(), (kind,))
            found = search.find(name.encode(), kind)
            assert found == ((ids[0], None) if ids else None), name
        assert search.find(b"task_struct", Kind.FUNC) is None
        assert search.find(b"no_such_thing_at_all", Kind.FUNC) is None
        assert search.find(b"x" * 127, Kind.FUNC) is None


@pytest.mark.parametrize("name", [b"", b"x" * 128, b"do_nano\0sleep"])
def test_what_cannot_be_asked_is_not_asked(name):
    with KernelSearch() as search, pytest.raises(UnsupportedError, match="no name that the kernel would search for"):
        search.find(name, Kind.FUNC)


def test_a_refusal_is_one_error_and_says_since_when_there_is_an_answer():
    with KernelSearch(token_fd=NOWHERE) as search:
        for _ in range(2):
            with pytest.raises(UnsupportedError, match="BPF_PROG_LOAD") as caught:
                search.find(b"do_exit", Kind.FUNC)
            assert caught.value.minimum == "5.14"


def test_without_standard_input_descriptor_0_is_never_taken_for_an_answer(searches):
    code = (
        "from ebpfpy.btf.kernelsearch import KernelSearch\n"
        "from ebpfpy.errors import UnsupportedError\n"
        "with KernelSearch() as search:\n"
        "    try:\n"
        "        search.find(b'do_exit', 12)\n"
        "    except UnsupportedError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec {python.executable} -c "$0" <&-', code], capture_output=True, text=True, check=True
    )
    assert "no standard input" in done.stdout


def test_there_are_never_more_bearers_of_a_name_than_bytes_tell(cache):
    kernel = cache.kernel()
    names = Namesakes(Blob.of(kernel), 0)
    some = [each.name for each in kernel if isinstance(each, btf.Func)][::397]
    assert len(some) > 50
    exact = 0
    for name in [*some, *FUNCTIONS, "no_such_function"]:
        counted, real = names.in_kernel(name.encode(), Kind.FUNC), len(kernel.ids_by_name(name.encode(), (Kind.FUNC,)))
        assert counted >= real, name
        exact += counted == real
    assert exact >= len(some)


# --- targets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [None, "vmlinux"])
def test_functions_are_found_without_walking_over_the_kernels_types(cache, searches, walked, module):
    for name in FUNCTIONS:
        try:
            looked = find_target(cache, AttachType.TRACE_FENTRY, name, module)
        except TargetNotFoundError:
            continue
        walked.clear()
        with fresh() as (own, quick):
            assert find_target(own, AttachType.TRACE_FENTRY, name, module, quick=quick) == looked
            assert own.walks == 0
            assert not walked


def test_hooks_are_found_without_reading_the_kernels_types(cache, searches):
    found = 0
    for attach_type, name in HOOKS:
        try:
            looked = find_target(cache, attach_type, name)
        except TargetNotFoundError:  # a kernel that is built without it
            continue
        with fresh() as (own, quick):
            assert find_target(own, attach_type, name, quick=quick) == looked
            assert not own.kernel_is_read
        found += 1
    assert found >= 3


def test_of_several_functions_with_one_name_the_kernels_first_is_not_taken(cache, searches):
    several = [name for name, times in times_of_functions(cache.kernel()).items() if times > 1][:5]
    for name in several:  # some kernels have hundreds, "init_once" for example, others none
        with KernelSearch() as search:
            assert search.find(name.encode(), Kind.FUNC).module is None
        with fresh() as (own, quick):
            assert quick.find(name.encode(), Kind.FUNC, None, is_hook=False) is None
            for module in (None, "vmlinux"):
                with pytest.raises(AmbiguousTargetError, match=f"{name} is found"):
                    find_target(own, AttachType.TRACE_FENTRY, name, module, quick=quick)
    with fresh() as (own, quick):
        assert quick.find(b"do_nanosleep", Kind.FUNC, None, is_hook=False) is not None


def test_who_has_walked_over_the_kernels_types_or_needs_many_ids_does_not_ask(cache, searches, monkeypatch):
    some = [name for name, times in times_of_functions(cache.kernel()).items() if times == 1][::1900]
    asked = []
    find = KernelSearch.find
    monkeypatch.setattr(KernelSearch, "find", lambda self, name, kind: asked.append(name) or find(self, name, kind))
    with fresh() as (own, quick):
        found = [find_target(own, AttachType.TRACE_FENTRY, each, "vmlinux", quick=quick) for each in some]
        assert 0 < len(asked) < 10 < len(some)
        assert own.kernel().walked > 0.5
        asked.clear()
        with QuickTargets(own) as another:
            assert find_target(own, AttachType.TRACE_FENTRY, some[0], "vmlinux", quick=another) == found[0]
        assert not asked


def test_what_the_kernel_does_not_find_is_looked_for_and_explained(searches):
    with fresh() as (own, quick):
        with pytest.raises(TargetNotFoundError, match=r"no function 'do_nanoslep'.*near: .*do_nanosleep"):
            find_target(own, AttachType.TRACE_FENTRY, "do_nanoslep", quick=quick)
        with pytest.raises(TargetNotFoundError, match="no_such_module:do_nanosleep"):
            find_target(own, AttachType.TRACE_FENTRY, "do_nanosleep", "no_such_module", quick=quick)
        with pytest.raises(TargetNotFoundError, match="no function"):
            find_target(own, AttachType.TRACE_FENTRY, "\udc80", quick=quick)


def test_what_the_kernel_has_answered_is_not_asked_again_with_the_same_cache(searches, monkeypatch):
    targets = [(AttachType.TRACE_FENTRY, "do_nanosleep"), (AttachType.TRACE_RAW_TP, "sched_switch")]
    cache = btf.Cache()
    with QuickTargets(cache) as quick:
        found = [find_target(cache, *each, quick=quick) for each in targets]
    monkeypatch.setattr(KernelSearch, "load", lambda _: pytest.fail("asked"))
    with QuickTargets(cache) as quick:
        assert [find_target(cache, *each, quick=quick) for each in targets] == found
        assert find_target(cache, *targets[0], "vmlinux", quick=quick) == found[0]
        with pytest.raises(pytest.fail.Exception, match="asked"):
            find_target(cache, AttachType.TRACE_FENTRY, "vfs_read", quick=quick)
        with pytest.raises(TargetNotFoundError, match="no_such_module"):  # after a walk over the kernel's types
            find_target(cache, *targets[0], "no_such_module", quick=quick)


def test_the_kernels_types_are_mapped_once_and_no_descriptor_is_kept(searches):
    with open("/proc/self/maps") as file:
        before = sum("/btf/vmlinux" in line for line in file)
    assert before <= 1
    for _ in range(3):
        with fresh() as (own, quick):
            find_target(own, AttachType.TRACE_FENTRY, "do_nanosleep", quick=quick)
            assert own.kernel().raw[:2] == btf.load_kernel_spec().raw[:2]
            with open("/proc/self/maps") as file:
                assert sum("/btf/vmlinux" in line for line in file) <= 1


def test_where_the_kernel_may_not_be_asked_targets_are_found_as_before(cache):
    looked = find_target(cache, AttachType.TRACE_FENTRY, "do_nanosleep")
    own = btf.Cache()
    with QuickTargets(own, token_fd=NOWHERE) as quick:
        for _ in range(2):
            assert find_target(own, AttachType.TRACE_FENTRY, "do_nanosleep", quick=quick) == looked
    vars(own).clear()


# --- loads --------------------------------------------------------------------------------------------


def test_programs_without_targets_and_core_are_loaded_without_the_kernels_types():
    cache = btf.Cache()
    with ebpfpy.load_collection(path_of("thirty_plain.bpf.o"), ebpfpy.CollectionOptions(cache=cache)) as collection:
        assert len(collection.programs) == 30
    assert not cache.kernel_is_read
    assert cache.walks == 0


def test_a_tracepoints_program_without_core_is_loaded_without_the_kernels_types(searches):
    features.require(features.no_fentry())
    program = counting_program("sched_switch", attach_type=AttachType.TRACE_RAW_TP)
    cache = btf.Cache()
    spec = collection_of(program, maps=[counting_collection("x").maps["counter"]])
    with (
        ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache)) as collection,
        link.attach(collection.programs["counts"]),
    ):
        triggers.run_true()
        assert count(collection) > 0
    assert not cache.kernel_is_read


def test_a_functions_program_without_core_is_loaded_without_walking_over_the_kernels_types(searches, walked):
    features.require(features.no_fentry())
    cache = btf.Cache()
    options = ebpfpy.CollectionOptions(cache=cache)
    with ebpfpy.Collection(counting_collection("do_nanosleep"), options) as collection:
        assert collection.programs["counts"].target.name == "do_nanosleep"
    assert not walked
    vars(cache).clear()


# --- modules ------------------------------------------------------------------------------------------


@pytest.fixture
def demo():
    features.require_module_tracing()
    modules.load("tun")
    modules.load(modules.DEMO)
    yield modules.DEMO
    for name in ("tun", modules.DEMO):
        modules.unload(name)


@pytest.mark.parametrize(
    ("name", "module"),
    [("tun_chr_open", None), ("tun_chr_open", "tun"), ("ebpfpy_demo_poke", None), ("ebpfpy_demo_poke", "ebpfpy-demo")],
)
def test_a_modules_function_is_found_without_walking_over_anybodys_types(cache, searches, demo, walked, name, module):
    looked = find_target(cache, EXIT, name, module)
    walked.clear()
    with fresh() as (own, quick):
        assert find_target(own, EXIT, name, module, quick=quick) == looked
        assert own.walks == 1
        assert not walked


def test_the_kernels_first_answer_is_not_taken_where_a_module_has_the_name_too(cache, searches, demo):
    with KernelSearch() as search:
        assert search.find(b"version_proc_show", Kind.FUNC).module is None
    with fresh() as (own, quick):
        with pytest.raises(AmbiguousTargetError, match="found 2 times"):
            find_target(own, EXIT, "version_proc_show", quick=quick)
        for module in ("vmlinux", demo):
            answers = []
            for asks in (quick, None):
                try:
                    answers.append(find_target(own, EXIT, "version_proc_show", module, quick=asks))
                except EbpfError as error:
                    answers.append(str(error))
            assert answers[0] == answers[1]


def test_a_module_that_comes_after_the_kernels_answer_makes_it_ambiguous(searches, demo):
    modules.unload(demo)
    cache = btf.Cache()
    for _ in range(2):
        with QuickTargets(cache) as quick:
            looked = find_target(cache, EXIT, "version_proc_show", quick=quick)
            assert looked.module is None
    modules.load(demo)
    with QuickTargets(cache) as quick:
        assert find_target(cache, EXIT, "version_proc_show", "vmlinux", quick=quick) == looked
        with pytest.raises(AmbiguousTargetError, match="found 2 times"):
            find_target(cache, EXIT, "version_proc_show", quick=quick)


def test_an_object_of_a_module_that_has_gone_is_not_taken_for_the_one_that_is_loaded(searches, demo):
    cache = btf.Cache()
    with cache.module_handle("tun"):  # on old kernels the object keeps its id for as long as somebody has it open
        modules.reload("tun")
        options = ebpfpy.CollectionOptions(cache=cache)
        with ebpfpy.Collection(counting_collection("tun_chr_open", "tun"), options) as collection:
            with link.attach(collection.programs["counts"]):
                triggers.open_tun()
            assert count(collection) == 1
    vars(cache).clear()


def test_a_load_walks_the_ids_of_btf_objects_once_and_the_next_one_not_at_all(searches, demo, monkeypatch):
    begun = []
    real = sys.next_id

    def counted(kind, start=0):
        if kind == "btf" and not start:
            begun.append(kind)
        return real(kind, start)

    monkeypatch.setattr(sys, "next_id", counted)
    targets = [("ebpfpy_demo_poke", demo), ("ebpfpy_demo_clash", demo), ("tun_chr_open", "tun"), ("tun_chr_open", None)]
    programs = [counting_program(*each, name=f"counts_{number}") for number, each in enumerate(targets)]
    spec = collection_of(*programs, maps=[counting_collection("x").maps["counter"]])
    cache = btf.Cache()
    options = ebpfpy.CollectionOptions(cache=cache)
    with ebpfpy.Collection(spec, options) as collection:
        assert {program.target.module for program in collection.programs.values()} == {demo, "tun"}
    assert (len(begun), cache.walks) == (1, 1)
    with ebpfpy.Collection(spec, options):
        assert (len(begun), cache.walks) == (1, 1)
    modules.reload("tun")  # now there is something new to find out
    with ebpfpy.Collection(spec, options):
        assert (len(begun), cache.walks) == (2, 2)
    with ebpfpy.load_collection(path_of("kmod_demo.bpf.o")) as collection:
        assert len(collection.programs) == 3
    assert len(begun) == 3
    vars(cache).clear()
