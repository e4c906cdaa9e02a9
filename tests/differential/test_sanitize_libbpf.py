"""BTF for old kernels side by side with libbpf: what it would load on a kernel that lacks a feature.

libbpf asks the kernel what it knows. ``oldkernel.c`` is loaded before it and plays a kernel that refuses some kinds.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ebpfpy import btf, load_collection_spec
from ebpfpy.btf import Feature, Kind
from tests.differential import libbpf

TESTDATA = Path(__file__).parents[2] / "testdata"
SOURCE = Path(__file__).with_name("oldkernel.c")
OBJECTS = [
    TESTDATA / f"{name}.bpf.o" for name in ("core_kinds", "core_many", "demo", "globals", "loop", "subprogs", "tagged")
]
FEATURES = {
    Feature.FUNC: f"{Kind.FUNC:d},{Kind.FUNC_PROTO:d}",
    Feature.DATASEC: f"{Kind.VAR:d},{Kind.DATASEC:d}",
    Feature.FUNC_LINKAGE: f"{Kind.FUNC:d}+",
    Feature.FLOAT: f"{Kind.FLOAT:d}",
    Feature.DECL_TAG: f"{Kind.DECL_TAG:d}",
    Feature.TYPE_TAG: f"{Kind.TYPE_TAG:d}",
    Feature.ENUM64: f"{Kind.ENUM64:d}",
}
"""What a kernel without the feature refuses; in the order in which kernels learned them."""


@pytest.fixture(scope="module")
def old_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if libbpf.why_not():
        pytest.skip(str(libbpf.why_not()))
    compiler = shutil.which("gcc") or shutil.which("gcc-12")
    if compiler is None or os.uname().machine != "x86_64":
        pytest.skip("no gcc for x86-64 is installed")
    library = tmp_path_factory.mktemp("old") / "oldkernel.so"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


def loaded_by_libbpf(library: Path, path: Path, refuse: str, scratch: Path) -> btf.Spec:
    """The BTF that libbpf loads for an object, in the end."""
    accepted = scratch / "accepted"
    accepted.unlink(missing_ok=True)
    command = "import sys; from tests.differential import libbpf; libbpf.load_logged(sys.argv[1], None)"
    subprocess.run(
        [sys.executable, "-c", command, str(path)],
        check=True,
        cwd=TESTDATA.parent,
        env={**os.environ, "LD_PRELOAD": str(library), "REFUSE": refuse, "ACCEPTED": str(accepted)},
    )
    data, at, last = accepted.read_bytes(), 0, b""
    while at < len(data):
        (size,) = struct.unpack_from("=I", data, at)
        last, at = data[at + 4 : at + 4 + size], at + 4 + size
    return btf.Spec(last)


def records(spec: btf.Spec) -> list[list[str]]:
    return [list(btf.dump_raw(spec, ids=[type_id])) for type_id in range(1, len(spec) + 1)]


def assert_replaced_alike(library: Path, path: Path, missing: Feature, refuse: str, scratch: Path) -> int:
    """Compare record by record; how many were replaced."""
    spec = load_collection_spec(path).types
    assert spec is not None
    before, ours = records(spec), records(btf.Spec(btf.sanitize(spec, missing)))
    theirs = records(loaded_by_libbpf(library, path, refuse, scratch))
    assert len(ours) == len(theirs)
    for original, mine, other in zip([*before, *([[""]] * 2)], ours, theirs, strict=False):
        if "FUNC_PROTO" in original[0] and Feature.FUNC in missing:  # libbpf leaves the parameters as enumerators
            assert mine[0].partition(" vlen=")[0] == other[0].partition(" vlen=")[0]
        else:
            assert mine == other
    return sum(one != two for one, two in zip(before, ours, strict=False))


@pytest.mark.parametrize("first", FEATURES, ids=lambda feature: feature.name)
def test_for_a_kernel_from_before_a_feature_records_are_replaced_as_libbpf_does(
    first: Feature, old_kernel: Path, tmp_path: Path
) -> None:
    unknown = list(FEATURES)[list(FEATURES).index(first) :]
    missing, refuse = Feature(0), ",".join(FEATURES[each] for each in unknown)
    for each in unknown:
        missing |= each
    replaced = [assert_replaced_alike(old_kernel, path, missing, refuse, tmp_path) for path in OBJECTS]
    assert sum(replaced)
