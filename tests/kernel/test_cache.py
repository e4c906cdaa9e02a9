"""The running kernel's types, kept: read once, shared by threads, aware of modules that come and go."""

import shutil
import threading

import pytest

import ebpfpy
from ebpfpy import btf, link
from ebpfpy.errors import NotFoundError, TargetNotFoundError
from tests.kernel import features, modules
from tests.kernel.blueprints import counting_collection


@pytest.fixture
def cache():
    kept = btf.Cache()
    yield kept
    vars(kept).clear()  # pytest holds the cache longer than the test runs, and types that are mapped hold a descriptor


def in_threads(work, number=12):
    """What work gives, run in threads that start together."""
    results, errors = [], []
    barrier = threading.Barrier(number)

    def run():
        barrier.wait()
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return results


def test_the_kernels_types_are_read_once_and_shared_by_threads(cache):
    specs = in_threads(cache.kernel)
    assert len({id(spec) for spec in specs}) == 1
    assert cache.kernel() is specs[0]
    assert specs[0].name == "vmlinux"
    assert cache.walks == 0


def test_a_module_that_is_not_loaded_is_not_found(cache):
    with pytest.raises(NotFoundError, match="no BTF of module no_such_module: it is not loaded"):
        cache.module("no_such_module")
    with pytest.raises(NotFoundError, match="no BTF object of a module no_such_module"):
        cache.module_handle("no_such_module")
    assert "no_such_module" not in cache.module_names()


# --- modules ------------------------------------------------------------------------------------------


@pytest.fixture
def tun():
    features.require_modules()
    modules.load("tun")
    with modules.unloaded_afterwards("tun"):
        yield "tun"


def test_a_modules_types_are_read_once_and_shared_by_threads(cache, tun):
    specs = in_threads(lambda: cache.module(tun))
    assert len({id(spec) for spec in specs}) == 1
    assert specs[0].base is cache.kernel()
    assert specs[0] in cache.modules()


def test_threads_that_ask_for_handles_cause_one_walk(cache, tun):
    handles = in_threads(lambda: cache.module_handle(tun))
    assert cache.walks == 1
    assert len({handle.info.id for handle in handles}) == 1
    for handle in handles:
        handle.close()


def test_a_name_may_be_written_with_a_dash(cache):
    features.require_modules()
    modules.load(modules.DEMO)
    with modules.unloaded_afterwards(modules.DEMO):
        assert cache.module("ebpfpy-demo") is cache.module("ebpfpy_demo")
        with cache.module_handle("ebpfpy-demo") as handle:
            assert handle.info.name == "ebpfpy_demo"


def test_modules_that_come_and_go_are_noticed(cache, tun):
    first = cache.module(tun)
    with cache.module_handle(tun) as handle:
        number = handle.info.id
    modules.unload(tun)
    with pytest.raises(NotFoundError, match="it is not loaded"):
        cache.module(tun)
    with pytest.raises(NotFoundError):
        cache.module_handle(tun)
    assert tun not in cache.module_names()
    assert all(spec.name != tun for spec in cache.modules())
    modules.load(tun)
    again = cache.module(tun)
    assert again is not first
    assert bytes(again.raw) == bytes(first.raw)
    with cache.module_handle(tun) as handle:
        assert handle.info.id > number
    assert tun in cache.module_names()


def test_a_small_cache_reads_again_and_gives_the_same_types(tun):
    small = btf.Cache(size=1)
    assert small.module(tun) is not small.module(tun)
    assert small.kernel() is small.kernel()
    size = len(small.module(tun).raw)
    one = btf.Cache(size=size)
    assert one.module(tun) is one.module(tun)


def test_what_was_used_longest_ago_goes_first(tun):
    modules.load("veth")
    with modules.unloaded_afterwards("veth"):
        sizes = [len(btf.Cache().module(name).raw) for name in (tun, "veth")]
        cache = btf.Cache(size=max(sizes))
        first = cache.module(tun)
        cache.module("veth")
        assert cache.module(tun) is not first


def test_the_object_of_a_module_that_has_gone_has_no_id_and_is_not_found_again(cache, tun):
    with cache.module_handle(tun) as handle:
        number = handle.info.id
        assert handle.incarnation == cache.module(tun).incarnation == cache.incarnation(tun)
        modules.unload(tun)
        with pytest.raises(FileNotFoundError):
            btf.Handle.from_id(number)
        assert cache.incarnation(tun) is None
        modules.load(tun)
        with cache.module_handle(tun) as other:
            assert other.info.id > number
            assert other.incarnation == cache.incarnation(tun) != handle.incarnation
        assert bytes(handle.spec(cache.kernel()).raw) == bytes(cache.module(tun).raw)  # but it can still be read


def test_programs_attach_to_a_module_whose_types_were_read_elsewhere(tmp_path):
    features.require_module_tracing()
    modules.load("tun")
    with modules.unloaded_afterwards("tun"):
        for name in ("vmlinux", "tun"):
            shutil.copyfile(f"/sys/kernel/btf/{name}", tmp_path / name)
        options = ebpfpy.CollectionOptions(cache=btf.Cache(directory=tmp_path))
        spec = counting_collection("tun_chr_open", "tun")
        with ebpfpy.Collection(spec, options) as collection, link.attach(collection.programs["counts"]):
            assert collection.programs["counts"].target.module == "tun"
        with ebpfpy.Collection(spec, options) as collection:
            (tmp_path / "tun").unlink()
            with pytest.raises(TargetNotFoundError, match="module tun was unloaded"):
                link.attach(collection.programs["counts"])
