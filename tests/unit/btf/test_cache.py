"""The cache of the kernel's types on a directory that looks like /sys/kernel/btf: whatever lies in it, and changes."""

import contextlib
import os
import random
import sys
import threading
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf.builder import Builder
from ebpfpy.btf.load import looks_into_modules
from ebpfpy.btf.loadedmodules import incarnation, is_still_loaded
from ebpfpy.errors import BtfError, InputError, KernelError, NotFoundError


def kernel_types():
    builder = Builder()
    builder.add(btf.Int("int", 4, 1))
    return builder.spec("vmlinux")


def module_types(base, version=0, padding=0):
    """The types of a module; `version` is the size of its struct, and `padding` makes it larger."""
    builder = Builder(base)
    builder.add(btf.Struct("here", version, []))
    builder.add(btf.Struct("x" * (padding + 1), 0, []))
    return bytes(builder.spec().raw)


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "vmlinux").write_bytes(bytes(kernel_types().raw))
    return tmp_path


def put(directory, name, blob):
    """Load a module: its file appears at once, and is another one than before."""
    new = directory.parent / f"{directory.name}-{name}-{os.urandom(8).hex()}"
    new.write_bytes(blob)
    os.link(new, f"{new}-kept")  # so that no later file gets its inode
    new.rename(directory / name)


def version_of(spec):
    return spec.type_by_name("here", btf.Struct).size


def test_a_module_is_read_once_until_its_file_is_another(directory):
    cache = btf.Cache(directory=directory)
    put(directory, "one", module_types(cache.kernel(), 1))
    first = cache.module("one")
    assert cache.module("one") is first
    assert first.incarnation == cache.incarnation("one")
    put(directory, "one", module_types(cache.kernel(), 2))
    second = cache.module("one")
    assert (version_of(first), version_of(second)) == (1, 2)
    assert first.incarnation != second.incarnation == cache.incarnation("one")
    (directory / "one").unlink()
    with pytest.raises(NotFoundError, match="no BTF of module one: it is not loaded"):
        cache.module("one")
    assert cache.incarnation("one") is None
    assert cache.modules() == []


def test_modules_that_nobody_asked_about_do_no_harm_and_are_named_to_who_asks(directory):
    cache = btf.Cache(directory=directory)
    good = module_types(cache.kernel(), 7)
    put(directory, "good", good)
    put(directory, "empty", b"")
    put(directory, "garbled", b"\x9f\xeb" + b"\xff" * 64)
    put(directory, "cut", good[:30])
    (directory / "unreadable").mkdir()
    (directory / "dangling").symlink_to("nowhere")
    assert [spec.name for spec in cache.modules()] == ["good"]
    assert cache.module_names() == ("cut", "dangling", "empty", "garbled", "good", "unreadable")
    for name in ("empty", "garbled", "cut"):
        with pytest.raises(BtfError):
            cache.module(name)
    with pytest.raises(KernelError, match="unreadable"):
        cache.module("unreadable")
    with pytest.raises(NotFoundError, match="dangling"):
        cache.module("dangling")


def test_no_more_bytes_are_kept_than_asked_for(directory):
    kernel = btf.Cache(directory=directory).kernel()
    for name in "abc":
        put(directory, name, module_types(kernel, 1, padding=1000))
    put(directory, "large", module_types(kernel, 1, padding=5000))
    size = len(module_types(kernel, 1, padding=1000))
    cache = btf.Cache(2 * size, directory=directory)
    a, b = cache.module("a"), cache.module("b")
    assert cache.module("a") is a  # so b is the one used longest ago
    assert cache.module("large") is not cache.module("large")
    cache.module("c")
    assert cache.module("a") is a
    assert cache.module("b") is not b
    nothing = btf.Cache(0, directory=directory)
    assert nothing.module("a") is not nothing.module("a")


@pytest.mark.parametrize("size", [-1, "1", None, 1.5])
def test_a_size_that_is_no_number_of_bytes_is_refused(size):
    with pytest.raises(InputError, match="number of bytes"):
        btf.Cache(size)


def test_a_directory_that_is_not_there_has_no_modules(tmp_path):
    cache = btf.Cache(directory=tmp_path / "none")
    assert cache.module_names() == ()
    assert cache.modules() == []


def test_a_directory_that_cannot_be_listed_has_no_modules_for_those_who_do_not_ask(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert btf.Cache(directory=file).modules() == []
    with pytest.raises(KernelError, match="Not a directory"):
        btf.kernel_module_names(str(file))


def test_threads_see_only_whole_modules_while_others_load_and_unload_them(directory):
    cache = btf.Cache(20_000, directory=directory)
    kernel = cache.kernel()
    names = [f"m{number}" for number in range(8)]
    blobs = {name: [module_types(kernel, 8 * at + 1, padding=1000 * at) for at in range(4)] for name in names}
    put(directory, "garbled", b"\x9f\xeb" + b"\xff" * 64)
    over, failures, answers = threading.Event(), [], [0]

    def churn():
        chance = random.Random(3)
        try:
            for _ in range(400):
                name = chance.choice(names)
                if chance.random() < 0.3:
                    (directory / name).unlink(missing_ok=True)
                else:
                    put(directory, name, chance.choice(blobs[name]))
        finally:
            over.set()

    def ask(number):
        chance = random.Random(number)
        try:
            while not over.is_set():
                for spec in cache.modules():
                    size = (version_of(spec) - 1) // 8
                    assert bytes(spec.raw) == blobs[spec.name][size]
                    assert spec.base is kernel
                    answers[0] += 1
                with contextlib.suppress(NotFoundError):
                    assert cache.module(chance.choice(names)).name in names
        except Exception as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        churn()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []
    assert answers[0] > 100


@pytest.mark.parametrize(("release", "looks"), [("6.1.", False), ("6.12.", True)])
def test_whether_a_kernel_looks_into_modules_is_told_without_a_walk(release, looks):
    path = next((Path(__file__).parents[3] / "testdata" / "btf").glob(f"{release}*"))
    kernel = btf.load_spec(path / "vmlinux.btf.xz")
    assert looks_into_modules(kernel) is looks
    assert kernel.walked == 0
    members = {member.name for member in kernel.type_by_name("bpf_prog_aux", btf.Struct).members}
    assert ("mod" in members) is looks


@pytest.mark.parametrize(
    ("place", "why"), [(None, "is a path, not None"), (5, "not 5"), ("", "empty path"), ("a\0b", "NUL byte")]
)
def test_a_directory_that_is_no_path_is_refused(place, why):
    with pytest.raises(InputError, match=f"the directory of the kernel's BTF.*{why}"):
        btf.Cache(directory=place)


def test_whether_a_module_is_still_loaded_is_asked_in_the_directory_that_it_was_read_from(directory):
    put(directory, "one", b"first")
    place = str(directory)
    before = incarnation("one", place)
    assert is_still_loaded("one", before, place)
    put(directory, "one", b"second")
    assert not is_still_loaded("one", before, place)
    (directory / "one").unlink()
    assert not is_still_loaded("one", before, place)
    assert is_still_loaded("one", before, f"{place}/not/mounted")  # it cannot be told
