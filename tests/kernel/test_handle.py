"""BTF objects in the kernel: read by id, listed, loaded."""

import errno
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf
from ebpfpy.errors import ClosedError, InputError, KernelError
from tests.kernel import features, modules
from tests.kernel.blueprints import TESTDATA, path_of

SYSFS = Path("/sys/kernel/btf")


@pytest.fixture(scope="module")
def kernel():
    return btf.load_kernel_spec()


@pytest.fixture
def own():
    return ebpfpy.load_collection_spec(path_of("demo.bpf.o")).types


def test_the_kernels_own_object_is_listed_and_is_the_file_in_sysfs():
    features.since("5.11", features.no_objects_of_the_kernel())
    found = []
    for handle in btf.iter_handles():
        with handle:
            if handle.info.is_vmlinux:
                found.append(handle.info)
                spec = handle.spec()
    (info,) = found
    assert (info.name, info.kernel, info.is_module) == ("vmlinux", True, False)
    assert (spec.name, spec.split) == ("vmlinux", False)
    data = (SYSFS / "vmlinux").read_bytes()
    assert bytes(spec.raw) == data
    assert info.size == len(data)


def test_an_object_loaded_by_a_program_comes_back_as_it_went_in(own):
    with btf.Handle.load(own) as handle:
        assert not handle.info.kernel
        assert not handle.info.is_module
        with btf.Handle.from_id(handle.info.id) as again:
            assert again.info == handle.info
            spec = again.spec()
        assert handle.info.id in ids()
        number = handle.info.id
    assert bytes(spec.raw) == bytes(own.raw)
    assert btf.sizeof(spec.type_by_name("event", btf.Struct)) == btf.sizeof(own.type_by_name("event", btf.Struct))
    with pytest.raises(FileNotFoundError) as caught:
        btf.Handle.from_id(number)
    assert isinstance(caught.value, KernelError)
    assert f"btf id {number}" in str(caught.value)


def ids():
    found = []
    for handle in btf.iter_handles():
        with handle:
            found.append(handle.info.id)
    assert found == sorted(found)
    return found


def test_bytes_can_be_loaded_as_well_as_a_spec(own):
    with btf.Handle.load(bytes(own.raw)) as handle:
        assert handle.info.size == len(own.raw)


def test_types_that_were_built_are_taken_by_the_kernel():
    builder = btf.Builder()
    number = btf.Int("int", 4, encoding=1)
    builder.add(btf.Struct("ours", 8, (btf.Member("a", number, 0), btf.Member("b", number, 32))))
    with btf.Handle.load(builder.spec()) as handle:
        assert btf.sizeof(handle.spec().type_by_name("ours", btf.Struct)) == 8


def test_malformed_types_are_refused_with_the_kernels_reason(own):
    data = bytearray(own.raw)
    data[4:8] = (0).to_bytes(4, "little")  # a header of no length
    with pytest.raises(KernelError) as caught:
        btf.Handle.load(bytes(data), name="broken")
    assert caught.value.errno == errno.EINVAL
    assert "BTF broken" in str(caught.value)
    builder = btf.Builder()
    builder.add(btf.Struct("too_small", 1, (btf.Member("a", btf.Int("int", 4), 0),)))
    with pytest.raises(KernelError) as caught:
        btf.Handle.load(builder.marshal())
    assert "Member" in caught.value.log


def test_the_other_byte_order_is_refused_by_the_kernel():
    types = ebpfpy.load_collection_spec(path_of("demo-clang19-eb.o")).types
    with pytest.raises(KernelError):
        btf.Handle.load(types)


def test_split_types_cannot_be_loaded():
    directory = next(path for path in (TESTDATA / "btf").iterdir() if path.is_dir())
    base = btf.load_spec(directory / "vmlinux.btf.xz")
    tun = btf.load_split_spec(directory / "tun.btf.xz", base)
    with pytest.raises(InputError, match="tun: split BTF cannot be loaded"):
        btf.Handle.load(tun)


def test_a_handle_is_closed_once_and_says_so(own):
    handle = btf.Handle.load(own)
    number = handle.info.id
    assert repr(handle) == f"<Handle id {number} (anon) fd {handle.fileno()}>"
    handle.close()
    handle.close()
    assert repr(handle) == f"<Handle id {number} (anon) closed>"
    with pytest.raises(ClosedError):
        handle.fileno()
    with pytest.raises(ClosedError):
        handle.spec()


# --- modules ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tun", "veth", "ebpfpy_demo"])
def test_a_modules_object_is_split_on_the_kernels_and_is_the_file_in_sysfs(kernel, name):
    features.require_modules()
    modules.load(name)
    with modules.unloaded_afterwards(name), btf.Cache().module_handle(name) as handle:
        info = handle.info
        assert (info.name, info.is_module, info.is_vmlinux) == (name, True, False)
        assert repr(handle) == f"<Handle id {info.id} {name} fd {handle.fileno()}>"
        with pytest.raises(InputError, match=f"module {name}: its types continue the kernel's"):
            handle.spec()
        spec = handle.spec(kernel)
        assert (spec.name, spec.base, spec.first_id) == (name, kernel, len(kernel) + 1)
        assert bytes(spec.raw) == (SYSFS / name).read_bytes()
        assert any(isinstance(each, btf.Func) for each in spec)


def test_every_module_in_sysfs_has_an_object_and_the_other_way_round(kernel):
    features.require_modules()
    modules.load("tun")
    with modules.unloaded_afterwards("tun"):
        listed = []
        for handle in btf.iter_handles():
            with handle:
                if handle.info.is_module:
                    listed.append(handle.info.name)
                    assert len(handle.spec(kernel)) > 0
        assert sorted(listed) == sorted(btf.kernel_module_names())
