"""Split BTF: ids, strings and identity across a base and what continues it."""

from __future__ import annotations

import copy
import io
import lzma
import pickle
import random
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.errors import NotFoundError, TypeNotFoundError

INT = btf.Int("int", 4, 1)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base() -> btf.Spec:
    builder = btf.Builder()
    builder.add_all([INT, btf.Struct("shared", 4, (btf.Member("a", INT),))])
    return builder.spec("base")


def split_on(base: btf.Spec, *types: btf.Type, name: str = "split") -> btf.Spec:
    builder = btf.Builder(base)
    builder.add_all(types)
    return builder.spec(name)


def test_ids_start_where_the_base_ends(base: btf.Spec) -> None:
    split = split_on(base, btf.Struct("own", 8))
    assert (split.first_id, len(split), len(base)) == (3, 1, 2)
    assert split.type_id(split.type_by_name("own")) == 3
    assert split.base is base
    with pytest.raises(TypeNotFoundError, match="the last one is 3"):
        split.type_by_id(4)


def test_ids_of_the_base_give_the_bases_objects_to_every_split(base: btf.Spec) -> None:
    one, two = split_on(base, btf.Struct("x", 1)), split_on(base, btf.Struct("y", 1))
    for type_id in (0, 1, 2):
        assert one.type_by_id(type_id) is two.type_by_id(type_id) is base.type_by_id(type_id)
        assert one.type_id(base.type_by_id(type_id)) == type_id
    with pytest.raises(NotFoundError):
        two.type_id(one.type_by_name("x"))
    with pytest.raises(NotFoundError):
        base.type_id(one.type_by_name("x"))


def test_names_of_the_base_are_used_by_offset(base: btf.Spec) -> None:
    split = split_on(base, btf.Struct("shared", 8), btf.Struct("own", 8, (btf.Member("a", base.type_by_id(1)),)))
    assert split.own_strings() == b"own\0"
    own = split.type_by_name("own", btf.Struct)
    assert own.members[0].name == "a"
    assert own.members[0].type is base.type_by_id(1)


def test_names_are_looked_up_among_own_types_only(base: btf.Spec) -> None:
    split = split_on(base, btf.Struct("shared", 8), btf.Struct("own", 8))
    assert split.type_by_name("shared", btf.Struct).size == 8
    assert base.type_by_name("shared", btf.Struct).size == 4
    with pytest.raises(TypeNotFoundError):
        split.type_by_name("int")
    with pytest.raises(TypeNotFoundError):
        base.type_by_name("own")
    assert split.types_by_essential_name("shared___x") == [split.type_by_name("shared")]


def test_flavours_whose_names_the_base_has_are_found_in_the_split() -> None:
    builder = btf.Builder()
    builder.add(btf.Struct("s", 4, (btf.Member("name___flavour", INT),)))
    base = builder.spec()
    split = split_on(base, btf.Struct("name___flavour", 4))
    assert [t.name for t in split.types_by_essential_name("name") if isinstance(t, btf.Struct)] == ["name___flavour"]


def test_a_split_of_a_split(base: btf.Spec) -> None:
    middle = split_on(base, btf.Struct("middle", 4))
    top = split_on(
        middle, btf.Struct("top", 4, (btf.Member("m", middle.type_by_id(3)), btf.Member("i", base.type_by_id(1))))
    )
    found = top.type_by_name("top", btf.Struct)
    assert top.type_id(found) == 4
    assert found.members[0].type is middle.type_by_id(3)
    assert found.members[1].type is base.type_by_id(1)
    assert found.members[1].name == "i"


def test_a_module_reads_on_its_kernel_from_a_reader(vmlinux: btf.Spec, kernel_dir: Path) -> None:
    raw = lzma.decompress((kernel_dir / "tun.btf.xz").read_bytes())
    tun = btf.load_split_spec_from_reader(io.BytesIO(raw), vmlinux)
    also = btf.load_split_spec(raw, vmlinux)
    assert tun.first_id == len(vmlinux) + 1
    assert len(tun) == len(also) > 100
    tun_file = tun.type_by_name("tun_file", btf.Struct)
    assert tun_file.members[0].name == "sk"
    assert tun_file.members[0].type is vmlinux.type_by_name("sock", btf.Struct)
    assert also.type_by_name("tun_file") is not tun_file
    with pytest.raises(TypeNotFoundError):
        tun.type_by_name("task_struct")


def test_two_modules_share_the_kernels_objects(vmlinux: btf.Spec, kernel_dir: Path) -> None:
    tun = btf.load_split_spec(kernel_dir / "tun.btf.xz", vmlinux)
    veth = btf.load_split_spec(kernel_dir / "veth.btf.xz", vmlinux)
    assert tun.first_id == veth.first_id
    assert tun.type_by_id(77) is veth.type_by_id(77) is vmlinux.type_by_id(77)
    assert tun.type_by_id(tun.first_id) is not veth.type_by_id(veth.first_id)


def test_a_pickled_spec_and_a_deep_copy_keep_types_names_and_bases(base: btf.Spec) -> None:
    split = split_on(base, btf.Struct("own", 8, (btf.Member("a", base.type_by_id(1)),)))
    split.pointer_size = 4
    for other in (pickle.loads(pickle.dumps(split)), copy.deepcopy(split), copy.copy(split)):
        assert other is not split
        assert other.name == "split"
        assert other.pointer_size == 4
        assert bytes(other.raw) == bytes(split.raw)
        own = other.type_by_name("own", btf.Struct)
        assert own.members[0].type is other.base.type_by_id(1)
        assert own.spec is other


def test_the_pointer_size_of_a_base_reaches_splits_that_were_asked_before(base: btf.Spec) -> None:
    holder = btf.Struct("own", 16, (btf.Member("p", btf.Pointer(INT)), btf.Member("q", btf.Pointer(INT), 64)))
    split, other = split_on(base, holder), split_on(base, holder)
    upper = split_on(split, holder)
    other.pointer_size = 8  # set there, so it stays
    own, above, kept = (spec.type_by_name("own", btf.Struct) for spec in (split, upper, other))
    data = struct.pack("<QQ", 0x1_0000_0002, 3)
    for of in (own, above, kept):
        assert btf.decode(of, data) == {"p": 0x1_0000_0002, "q": 3}
    base.pointer_size = 4
    assert (split.pointer_size, upper.pointer_size, other.pointer_size) == (4, 4, 8)
    assert btf.decode(own, data) == btf.decode(above, data) == {"p": 2, "q": 3}
    assert btf.decode(kept, data) == {"p": 0x1_0000_0002, "q": 3}


def test_specs_pickled_together_share_their_base(base: btf.Spec) -> None:
    one, two = pickle.loads(pickle.dumps([split_on(base, INT), split_on(base, btf.Float("f", 4))]))
    assert one.base is two.base


def test_many_threads_grow_one_spec_and_get_the_same_objects(vmlinux_bytes: bytes) -> None:
    spec = btf.Spec(vmlinux_bytes)
    names = ["task_struct", "file", "sock", "net_device", "list_head", "pid_t", "vfs_read", "xdp_buff", "zone"]
    found: list[dict[object, list[btf.Type]]] = []
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def ask(seed: int) -> None:
        dice = random.Random(seed)
        jobs: list[object] = [*names, *random.Random(0).sample(range(1, 80_000), 60)]
        dice.shuffle(jobs)
        mine: dict[object, list[btf.Type]] = {}
        try:
            start.wait()
            for job in jobs:
                mine[job] = spec.any_types_by_name(job) if isinstance(job, str) else [spec.type_by_id(int(str(job)))]
        except BaseException as error:
            errors.append(error)
        found.append(mine)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for job, types in found[0].items():
        assert types
        for other in found[1:]:
            assert len(other[job]) == len(types)
            assert all(a is b for a, b in zip(types, other[job], strict=True))
    walked = btf.Spec(vmlinux_bytes)
    assert len(spec) == len(walked)
    assert spec._starts == walked._starts


def test_dumping_by_ids_takes_them_from_the_base_as_well(base: btf.Spec) -> None:
    split = split_on(base, btf.Struct("own", 8))
    assert list(btf.dump_raw(split, ids=[3, 1, 0])) == [
        "[3] STRUCT 'own' size=8 vlen=0",
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "[0] VOID '(anon)'",
    ]
    assert len(list(btf.dump_raw(split))) == 1
