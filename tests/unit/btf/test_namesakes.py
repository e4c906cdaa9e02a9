"""How many types can have a name, told by bytes: never too few, in a kernel and its modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.load import looks_into_modules
from ebpfpy.btf.namesakes import Blob, Namesakes, members_by_bytes

KERNELS = Path(__file__).parents[3] / "testdata" / "btf"
INT = btf.Int("int", 4, 1)
PROTO = btf.FuncProto(INT, ())


def functions(*names: str, base: btf.Spec | None = None) -> btf.Spec:
    """Types with functions of these names, and a struct with a member of each name."""
    builder = btf.Builder(base)
    members = tuple(btf.Member(name, INT, 32 * number) for number, name in enumerate(names))
    builder.add_all([*(btf.Func(name, PROTO) for name in names), btf.Struct("all", 4 * len(names), members)])
    return builder.spec("vmlinux" if base is None else "module")


@pytest.fixture
def kernel() -> btf.Spec:
    return functions("common", "twice", "twice", "kernel_only")


def counted(kernel: btf.Spec, **modules: btf.Spec) -> Namesakes:
    names = Namesakes(Blob.of(kernel), 1 << 20)
    names.follow(dict.fromkeys(modules, 1), lambda name: bytes(modules[name].raw))
    return names


def test_functions_are_counted_and_members_of_that_name_are_not(kernel: btf.Spec) -> None:
    names = counted(kernel)
    found = {name: names.in_kernel(name.encode(), Kind.FUNC) for name in ("common", "twice", "kernel_only", "none", "")}
    assert found == {"common": 1, "twice": 2, "kernel_only": 1, "none": 0, "": 0}
    assert names.in_kernel(b"all", Kind.STRUCT) == 1
    assert names.in_kernel(b"common", Kind.STRUCT) == 0


def test_a_modules_function_is_found_by_the_kernels_word_and_by_its_own(kernel: btf.Spec) -> None:
    one, two = functions("common", "own", base=kernel), functions("own", "other", "other", base=kernel)
    assert b"common" not in one.own_strings()
    names = counted(kernel, one=one, two=two)
    assert names.in_modules(b"common", Kind.FUNC) == {"one": 1}
    assert names.in_modules(b"own", Kind.FUNC) == {"one": 1, "two": 1}
    assert names.in_modules(b"other", Kind.FUNC) == {"two": 2}
    assert names.in_modules(b"kernel_only", Kind.FUNC) == {}
    assert names.in_kernel(b"own", Kind.FUNC) == 0


def test_modules_are_read_when_they_are_new_and_forgotten_when_they_go(kernel: btf.Spec) -> None:
    modules = {"one": functions("a", base=kernel), "two": functions("b", base=kernel)}
    read: list[str] = []

    def reads(name: str) -> bytes:
        read.append(name)
        return bytes(modules[name].raw)

    names = Namesakes(Blob.of(kernel), 1 << 20)
    names.follow({"one": 1, "two": 1}, reads)
    names.follow({"one": 1, "two": 1}, reads)
    assert read == ["one", "two"]
    modules["two"] = functions("c", base=kernel)
    names.follow({"one": 1, "two": 2}, reads)
    assert read == ["one", "two", "two"]
    assert [names.in_modules(name, Kind.FUNC) for name in (b"a", b"b", b"c")] == [{"one": 1}, {}, {"two": 1}]
    names.follow({"two": 2}, reads)
    assert names.in_modules(b"a", Kind.FUNC) == {}
    assert len(read) == 3


def test_no_more_bytes_of_modules_are_kept_than_was_said(kernel: btf.Spec) -> None:
    module = functions("a", base=kernel)
    read: list[str] = []

    def reads(name: str) -> bytes:
        read.append(name)
        return bytes(module.raw)

    names = Namesakes(Blob.of(kernel), len(module.raw) - 1)
    for _ in range(2):
        names.follow({"one": 1}, reads)
        assert names.in_modules(b"a", Kind.FUNC) == {"one": 1}
    assert len(read) == 2


def test_a_module_that_cannot_be_read_or_understood_has_no_types(kernel: btf.Spec) -> None:
    def reads(name: str) -> bytes:
        if name == "gone":
            raise FileNotFoundError(name)
        return b"\x9f\xeb nonsense"

    names = Namesakes(Blob.of(kernel), 1 << 20)
    names.follow({"gone": 1, "broken": 1}, reads)
    assert names.in_modules(b"a", Kind.FUNC) == {}


def test_members_are_named_without_a_walk_where_one_struct_has_the_name() -> None:
    builder = btf.Builder()
    builder.add_all(
        [
            btf.Struct("one", 8, (btf.Member("a", INT), btf.Member("b", INT, 32))),
            btf.Union("one", 4, (btf.Member("c", INT),)),
            btf.Struct("two", 4, (btf.Member("d", INT),)),
            btf.Struct("two", 8),
        ]
    )
    spec = builder.spec()
    assert members_by_bytes(spec, b"one") == {b"a", b"b"}
    assert members_by_bytes(spec, b"two") is None
    assert members_by_bytes(spec, b"three") is None
    assert spec.walked == 0


@pytest.mark.parametrize(("release", "looks"), [("6.1.0-56-amd64", False), ("6.12.117+deb12-amd64", True)], ids=str)
def test_whether_a_kernel_looks_into_modules_costs_no_walk(release: str, looks: bool) -> None:
    kernel = btf.load_spec(KERNELS / release / "vmlinux.btf.xz")
    assert looks_into_modules(kernel) is looks
    assert kernel.walked == 0
    members = {member.name.encode() for member in kernel.type_by_name("bpf_prog_aux", btf.Struct).members}
    assert members_by_bytes(kernel, b"bpf_prog_aux") == members


@pytest.mark.parametrize("release", sorted(path.parent.name for path in KERNELS.glob("*/vmlinux.btf.xz")))
def test_in_a_real_kernel_and_its_modules_no_bearer_is_missed(release: str) -> None:
    kernel = btf.load_spec(KERNELS / release / "vmlinux.btf.xz")
    modules = {
        path.name.partition(".")[0]: btf.load_split_spec(path, kernel)
        for path in sorted((KERNELS / release).glob("*.btf.xz"))
        if not path.name.startswith("vmlinux")
    }
    names = counted(kernel, **modules)
    wanted = {each.name for spec in modules.values() for each in spec if isinstance(each, btf.Func)}
    exact = 0
    for name in sorted(wanted):
        real = {label: len(spec.ids_by_name(name.encode(), (Kind.FUNC,))) for label, spec in modules.items()}
        real = {label: count for label, count in real.items() if count}
        found = names.in_modules(name.encode(), Kind.FUNC)
        assert all(found[label] >= count for label, count in real.items()), name
        assert names.in_kernel(name.encode(), Kind.FUNC) >= len(kernel.ids_by_name(name.encode(), (Kind.FUNC,)))
        exact += found == real
    assert exact >= 0.99 * len(wanted)
