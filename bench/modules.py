"""Every module of a distribution's kernel as split BTF on one base.

The files are those of a Debian kernel that the test machines boot; `python -m tests.vm.setup` fetches it. Their BTF is
taken out once, into the same cache.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.timing import Row, milliseconds, side_by_side
from tests.differential.libbpf import library as load_libbpf

if TYPE_CHECKING:
    from bench.peer import Libbpf

SERIES = "6.12"
WANTED = "e1000_adapter"  # a struct that two of the modules have, and nothing else


def directory() -> Path | None:
    """Raw BTF of a kernel and all its modules, a file each; None where the kernel has not been fetched."""
    from tests.vm import cache, kernels

    if not (cache.root() / SERIES / "kernel.json").exists():
        return None
    kernel = kernels.get(SERIES)
    return cache.once(cache.root() / "btf" / kernel.release, lambda target: _fill(kernel, target))


def _fill(kernel: object, target: Path) -> None:
    from ebpfpy import btf
    from tests.vm.kernels import Kernel

    assert isinstance(kernel, Kernel)
    base = btf.load_spec(kernel.vmlinux)
    (target / "vmlinux").write_bytes(base.raw)
    for name, (path, _) in kernel.module_files().items():
        (target / name).write_bytes(btf.load_split_spec(path, base).raw)


def rows(peer: Libbpf | None) -> list[Row]:
    """Open all modules and find one name; relocate an object with all of them at hand."""
    where = directory()
    if where is None:
        print("modules are not measured: python -m tests.vm.setup fetches the kernel", file=sys.stderr)
        return []
    files = sorted(str(path) for path in where.iterdir() if path.name != "vmlinux")
    kernel = str(where / "vmlinux")
    return [_open_all(kernel, files, peer), *_relocate_beside(kernel, files)]


def _open_all(kernel: str, files: list[str], peer: Libbpf | None) -> Row:
    from ebpfpy import btf

    base = btf.load_spec(kernel)
    base.type_by_name("task_struct", btf.Struct)

    def ours() -> object:
        specs = [btf.load_split_spec(path, base) for path in files]
        found = [t for spec in specs for t in spec.any_types_by_name(WANTED)]
        assert len(found) >= 2
        return specs

    what = f"open {len(files):,} modules, find one name"
    if peer is None:
        return Row(what, side_by_side(ours, count=5)[0], None, "ms", None)
    library = load_libbpf()
    below = library.btf__parse_raw(kernel.encode())

    def theirs() -> object:
        opened = [library.btf__parse_raw_split(path.encode(), below) for path in files]
        assert all(opened)
        for each in opened:
            library.btf__free(each)
        return len(opened)

    taken = side_by_side(ours, theirs, count=5)
    library.btf__free(below)
    return Row(what, taken[0], taken[1], "ms", 1.0, "ratio")


def _relocate_beside(kernel: str, files: list[str]) -> list[Row]:
    """An object that needs vmlinux only, with and without the modules' specs in the list."""
    from ebpfpy import btf, core
    from ebpfpy.elf import load_collection_spec

    base = btf.load_spec(kernel)
    modules = [btf.load_split_spec(path, base) for path in files]
    source = Path(__file__).parents[1] / "testdata" / "core_many.bpf.o"

    def relocate(specs: list[btf.Spec]) -> object:
        relocator = core.Relocator(specs)
        programs = load_collection_spec(source).programs.values()
        return [core.patch(p.code, relocator.relocate(p.relocations), p.byte_order) for p in programs]

    milliseconds(lambda: relocate([base]))
    taken = side_by_side(lambda: relocate([base, *modules]), lambda: relocate([base]))
    return [Row(f"relocate with {len(files):,} modules / without", taken[0], taken[1], "ms", 1.2, "ratio")]
