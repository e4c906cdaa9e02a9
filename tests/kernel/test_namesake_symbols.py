"""A function of a module whose name another function has that no BTF tells of: only /proc/kallsyms knows both."""

import subprocess

import pytest

import ebpfpy
from ebpfpy import btf, features, link
from ebpfpy.errors import AmbiguousTargetError
from tests.kernel import features as machine
from tests.kernel import modules, triggers
from tests.kernel.blueprints import count, counting_collection

TWIN = "ebpfpy_dem2"


@pytest.fixture
def twins(tmp_path):
    """Our module, and a copy of it under another name and without BTF: it was loaded first, and comes first by name."""
    machine.require_module_tracing()
    bare = tmp_path / "bare.ko"
    copy = ["objcopy", "--remove-section", ".BTF", "--remove-section", ".BTF.base"]
    subprocess.run([*copy, modules.demo_file(), str(bare)], check=True)
    image = bare.read_bytes().replace(modules.DEMO.encode() + b"\0", TWIN.encode() + b"\0")
    with modules.absent(modules.DEMO):
        modules.insert(image)
        try:
            modules.load(modules.DEMO)
            yield TWIN
            modules.unload(modules.DEMO)
        finally:
            modules.remove(TWIN)


def test_a_namesake_without_btf_is_told_apart_or_refused_with_addresses_and_owners(twins):
    cache = btf.Cache()
    symbols = cache.code_symbols("ebpfpy_demo_poke")
    assert {each.module for each in symbols} == {modules.DEMO, twins}
    assert cache.code_symbols("ebpfpy_demo_poke") is symbols
    spec = counting_collection("ebpfpy_demo_poke", modules.DEMO)
    options = ebpfpy.CollectionOptions(cache=cache)
    audit = features.explain_target("ebpfpy_demo_poke", modules.DEMO)
    if machine.finds_functions_by_bare_name():
        for each in (spec, counting_collection("ebpfpy_demo_poke")):
            with pytest.raises(AmbiguousTargetError, match="finds functions by the bare name, and 2 have it") as caught:
                ebpfpy.Collection(each, options)
            assert sorted(caught.value.searched) == sorted((modules.DEMO, twins))
            assert all(f"at {symbol.address:#x}" in str(caught.value) for symbol in symbols)
        assert "looks for the bare name" in audit.fentry
    else:
        assert audit.fentry is None
        with ebpfpy.Collection(spec, options) as collection, link.attach(collection.programs["counts"]):
            subprocess.run(["sh", "-c", f"echo 1 > /proc/{twins}"], check=True)
            assert count(collection) == 0
            triggers.poke(1)
            assert count(collection) == 1
    modules.unload(modules.DEMO)
    assert {each.module for each in cache.code_symbols("ebpfpy_demo_poke")} == {twins}
