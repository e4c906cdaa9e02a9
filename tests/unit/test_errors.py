"""Errors in copies and pickles: a process pool hands them from one process to another."""

import copy
import errno
import multiprocessing
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import asm, btf, errors, load_collection_spec
from ebpfpy.errors import EbpfError, KernelError, VerifierError, kernel_error, os_error_class, verifier_error

TESTDATA = Path(__file__).parents[2] / "testdata"
CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, EbpfError)]


def failure(function, *arguments):
    with pytest.raises(EbpfError) as caught:
        function(*arguments)
    return caught.value


def two_of_a_name():
    builder = btf.Builder()
    for size in (4, 8):
        builder.add(btf.Struct("twice", size, ()))
    return builder.spec()


def other_base():
    directory = TESTDATA / "btf" / "6.12.117+deb12-amd64" / "distilled"
    base = btf.load_spec(directory / "ebpfpy_demo.base.btf.xz")
    return btf.relocate_base(btf.load_split_spec(directory / "ebpfpy_demo.btf.xz", base), two_of_a_name())


def two_drivers():
    spec = load_collection_spec(TESTDATA / "namesakes.bpf.o")
    spec.programs = {"on_either": spec.programs["on_either"]}
    kernel = TESTDATA / "btf" / "6.12.117+deb12-amd64"
    base = btf.load_spec(kernel / "vmlinux.btf.xz")
    spec.relocate([base, *(btf.load_split_spec(kernel / f"{name}.btf.xz", base) for name in ("e1000", "e1000e"))])


def with_source_line():
    error = verifier_error(errno.EACCES, program="p", log="0: r0 = 1\nno\n", reason="no", hint="try")
    error.source_line = "p.c:3: return *p;"
    return error


def with_log():
    error = kernel_error(errno.EINVAL, "BPF_BTF_LOAD", subject="types")
    error.log, error.log_true_size = "line\n", 70_000
    return error


EXAMPLES = {
    EbpfError: lambda: EbpfError("in the beginning"),
    errors.InputError: lambda: errors.InputError("no", source="file", offset=3),
    errors.BtfError: lambda: failure(btf.load_spec, b"\x9f\xeb\x01\0" + b"\xff" * 40),
    errors.BaseMismatchError: lambda: failure(other_base),
    errors.ElfError: lambda: failure(load_collection_spec, b"\x7fELF" + bytes(60)),
    errors.InstructionError: lambda: failure(asm.decode, b"123", "little"),
    errors.NotFoundError: lambda: errors.NotFoundError("no"),
    errors.TypeNotFoundError: lambda: failure(two_of_a_name().type_by_name, "twic", btf.Struct),
    errors.MemberNotFoundError: lambda: failure(two_of_a_name().type_by_id(1).member, "x"),
    errors.AmbiguousTypeError: lambda: failure(two_of_a_name().type_by_name, "twice", btf.Struct),
    errors.RelocationError: lambda: errors.RelocationError("no", program="p", insn=3, relocation="byte_off"),
    errors.AmbiguousRelocationError: lambda: failure(two_drivers),
    errors.ExternError: lambda: errors.ExternError("no", name="CONFIG_HZ"),
    errors.TargetError: lambda: errors.TargetError("no", name="f", module="m", searched=("vmlinux",)),
    errors.TargetNotFoundError: lambda: errors.TargetNotFoundError("no", name="f"),
    errors.AmbiguousTargetError: lambda: errors.AmbiguousTargetError("two", name="f", candidates=("m:f",)),
    errors.UnsupportedError: lambda: errors.UnsupportedError("no", feature="rings", minimum="5.8"),
    errors.ClosedError: lambda: errors.ClosedError("map is closed"),
    KernelError: with_log,
    VerifierError: with_source_line,
}
EXAMPLES = {cls: cache(make) for cls, make in EXAMPLES.items()}
OF_THE_KERNEL = [kernel_error(number, "BPF_PROG_LOAD", subject="s", hint="h") for number in errno.errorcode]


def same(one, other):
    assert type(one) is type(other)
    assert (str(one), repr(one), one.args) == (str(other), repr(other), other.args)
    assert vars(one) == vars(other)
    if isinstance(one, OSError):
        assert (one.errno, one.strerror, one.filename) == (other.errno, other.strerror, other.filename)


WAYS = {
    **{f"pickle {n}": lambda e, n=n: pickle.loads(pickle.dumps(e, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def test_there_is_an_example_of_every_class():
    assert set(EXAMPLES) == set(CLASSES)
    assert all(type(make()).__name__ == cls.__name__ for cls, make in EXAMPLES.items())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("cls", EXAMPLES)
def test_class_text_attributes_and_notes_stay(cls, way):
    error = EXAMPLES[cls]()
    noted = way(error)
    noted.add_note("seen at noon")
    again = way(noted)
    same(noted, again)
    assert again.__notes__ == [*getattr(error, "__notes__", ()), "seen at noon"]
    again.add_note("and at night")
    assert noted.__notes__[-1] == "seen at noon"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_error_of_the_kernel_is_still_the_builtin_one(way):
    for error in [*OF_THE_KERNEL, with_source_line()]:
        same(error, way(error))
    assert isinstance(way(kernel_error(errno.EPERM, "BPF_MAP_CREATE")), PermissionError)
    assert isinstance(way(with_source_line()), PermissionError)
    assert isinstance(way(with_source_line()), VerifierError)
    plain = KernelError(errno.EPERM, "BPF_MAP_CREATE")
    assert type(way(plain)) is KernelError


def test_what_cannot_be_pickled_becomes_its_text_and_the_rest_stays():
    lock = threading.Lock()
    error = errors.TypeNotFoundError("no", name="x", near=("y",))
    error.spec = lock
    error.found = ("a", lock, [lock, 1], {"where": lock})
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, again.near, again.spec) == ("x", ("y",), str(lock))
    assert again.found == ("a", str(lock), [str(lock), 1], {"where": str(lock)})
    assert copy.copy(error).spec is lock
    assert copy.deepcopy(error).spec is lock


def test_types_in_attributes_do_not_stand_in_the_way():
    problems = failure(other_base).problems
    error = errors.BaseMismatchError("no", problems=(*problems, two_of_a_name()))
    again = pickle.loads(pickle.dumps(error))
    assert again.problems[:-1] == problems
    assert len(again.problems) == len(problems) + 1


def test_a_class_of_one_builtin_exception_is_made_once():
    again = pickle.loads(pickle.dumps(kernel_error(errno.ENOENT, "BPF_OBJ_GET")))
    assert type(again) is os_error_class(KernelError, errno.ENOENT)


def test_a_worker_process_hands_its_error_over():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        here = failure(btf.load_spec, b"no types")
        with pytest.raises(errors.BtfError) as caught:
            pool.submit(btf.load_spec, b"no types").result()
        assert str(caught.value) == str(here)
        assert caught.value.offset == 0
