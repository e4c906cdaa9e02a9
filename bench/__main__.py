"""``python -m bench``: what ebpfpy costs, beside what its peers cost, measured side by side in one run.

Every time is processor time, and the median of alternating runs. Rows:

* open the kernel's BTF and find a struct, beside libbpf's btf__parse_raw and btf__find_by_name_kind;
* find further structs by name: median and worst of twenty;
* ``import ebpfpy`` beside ``python -c pass``, and the command's ``--help``, from an installed copy with
  compiled bytecode;
* memory that opening the kernel's BTF and finding ten structs adds to the interpreter;
* relocating an object with hundreds of relocations, the first and the next time in a process, beside libbpf;
* loading an object of thirty programs, the first and the next time, and finding what to attach to, beside libbpf
  (`bench.loading`);
* types as objects (`bench.types`), a kernel's types written (`bench.writing`) and printed as C (`bench.cheader`), and
  every module of a distribution's kernel at once (`bench.modules`).

Words on the command line choose groups of rows: ``python -m bench types modules``. Exit status 1 if a budget is
exceeded.
"""

from __future__ import annotations

import lzma
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cheader, loading, modules, types, writing
from bench.peer import Libbpf
from bench.timing import RUNS, Row, milliseconds, side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
SYSFS = Path("/sys/kernel/btf/vmlinux")
MANY = ROOT / "testdata" / "core_many.bpf.o"
COMMON = [
    "task_struct",
    "file",
    "sock",
    "sk_buff",
    "inode",
    "dentry",
    "mm_struct",
    "vm_area_struct",
    "net_device",
    "cred",
    "page",
    "super_block",
    "pid",
    "cgroup",
    "bio",
    "request",
    "path",
    "nsproxy",
    "signal_struct",
    "perf_event",
]
TEN = COMMON[:10]


GROUPS = ("open", "relocate", "load", "types", "writing", "cheader", "modules", "start")


def main(chosen: Sequence[str] = ()) -> int:
    unknown = sorted(set(chosen) - set(GROUPS))
    if unknown:
        print(f"bench: no rows {', '.join(unknown)}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    wanted = set(chosen or GROUPS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        kernel = kernel_btf(Path(scratch))
        try:
            peer = Libbpf()
        except OSError as error:
            print(f"libbpf is not measured: {error}", file=sys.stderr)
            peer = None
        if "open" in wanted:
            rows += open_and_find(kernel, peer)
        if "relocate" in wanted:
            rows += relocating(kernel, peer)
        if "load" in wanted:
            rows += loading.rows(kernel, peer)
        if "types" in wanted:
            rows += types.rows(kernel, peer)
        if "writing" in wanted:
            rows += writing.rows(kernel, peer)
        if "cheader" in wanted:
            rows += cheader.rows(kernel, peer)
        if "modules" in wanted:
            rows += modules.rows(peer)
        environment = install(Path(scratch)) if "start" in wanted else None
        if environment is not None:
            rows += memory(kernel, environment)
            rows += starting(Path(scratch), environment)
    print(
        f"Python {sys.version.split()[0]}, libbpf {peer.version if peer else 'none'}, {kernel}, medians of {RUNS} runs"
    )
    show(rows)
    return any(row.over for row in rows)


def kernel_btf(scratch: Path) -> Path:
    """The running kernel's BTF, or the newest committed one."""
    if SYSFS.exists():
        return SYSFS
    newest = min(ROOT.glob("testdata/btf/*/vmlinux.btf.xz"))
    path = scratch / "vmlinux.btf"
    path.write_bytes(lzma.decompress(newest.read_bytes()))
    return path


def open_and_find(kernel: Path, peer: Libbpf | None) -> list[Row]:
    from ebpfpy import btf

    def ours() -> object:
        spec = btf.load_spec(kernel)
        return spec, spec.type_by_name("tcp_sock", btf.Struct)

    def theirs() -> object:
        assert peer is not None
        return peer.open_and_find(str(kernel), "tcp_sock")

    taken = side_by_side(ours, theirs) if peer else [*side_by_side(ours), None]
    rows = [Row("open vmlinux, find tcp_sock", taken[0], taken[1], "ms", 1.3, "ratio")]
    found: dict[str, list[float]] = {name: [] for name in COMMON}
    for _ in range(RUNS):
        spec = btf.load_spec(kernel)
        spec.type_by_name("tcp_sock", btf.Struct)
        spec.type_by_name("ethhdr", btf.Struct)  # the second name builds the index that the others use
        for name in COMMON:
            found[name].append(milliseconds(lambda name=name, spec=spec: spec.type_by_name(name, btf.Struct)))
    medians = {name: statistics.median(times) for name, times in found.items()}
    worst = max(medians, key=medians.__getitem__)
    rows.append(Row("find a further name (median of 20)", statistics.median(medians.values()), None, "ms", 0.5))
    rows.append(Row(f"find a further name (worst: {worst})", medians[worst], None, "ms", 0.5))
    return rows


def relocating(kernel: Path, peer: Libbpf | None) -> list[Row]:
    from ebpfpy import btf, core
    from ebpfpy.elf import load_collection_spec

    programs = list(load_collection_spec(MANY).programs.values())
    count = sum(len(program.relocations) for program in programs)
    again = [list(load_collection_spec(MANY).programs.values()) for _ in range(RUNS + 1)]

    def relocate(spec: btf.Spec, programs: list) -> None:
        relocator = core.Relocator([spec])
        for program in programs:
            core.patch(program.code, relocator.relocate(program.relocations), program.byte_order)

    def cold() -> object:
        spec = btf.load_spec(kernel)
        relocate(spec, load_collection_spec(MANY).programs.values())
        return spec

    warm_spec = btf.load_spec(kernel)
    relocate(warm_spec, programs)

    def second() -> object:
        return relocate(warm_spec, again[second_count.pop()])

    second_count = list(range(RUNS + 1))
    peer_cold = None
    rows = []
    if peer is not None and peer.relocate(str(MANY), str(kernel), relocations=True) == -22:
        runs = [
            cold,
            lambda: peer.relocate(str(MANY), str(kernel), relocations=True),
            lambda: peer.relocate(str(MANY), str(kernel), relocations=False),
        ]
        taken = side_by_side(*runs)
        rows.append(Row(f"read object, open vmlinux, {count} relocations", taken[0], taken[1], "ms", 0.6, "ratio"))
        peer_cold = (taken[1] - taken[2]) * 1000 / count
    per_relocation = []
    for _ in range(RUNS):
        spec, fresh = btf.load_spec(kernel), list(load_collection_spec(MANY).programs.values())
        per_relocation.append(milliseconds(lambda spec=spec, fresh=fresh: relocate(spec, fresh)) * 1000 / count)
    rows.append(Row("one relocation, first object", statistics.median(per_relocation), peer_cold, "us", None, "ratio"))
    rows.append(Row("one relocation, second object", side_by_side(second)[0] * 1000 / count, peer_cold, "us", 15))
    return rows


_MEMORY = """
import sys
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
before = resident()
from ebpfpy import btf
imported = resident()
spec = btf.load_spec(sys.argv[1])
for name in sys.argv[2:]:
    spec.type_by_name(name, btf.Struct)
print(before, imported, resident())
"""


def memory(kernel: Path, environment: dict[str, str]) -> list[Row]:
    added, total = [], []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, str(kernel), *TEN],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        before, imported, after = map(int, done.stdout.split())
        added.append((after - imported) / 1024)
        total.append((after - before) / 1024)
    return [
        Row("memory: open vmlinux, find ten structs", statistics.median(total), None, "MB", 10),
        Row("memory: the same without the import", statistics.median(added), None, "MB", None),
    ]


def install(scratch: Path) -> dict[str, str] | None:
    """Install the package, compiled, and return the environment that uses it; None if pip cannot."""
    target = scratch / "installed"
    try:
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--compile",
                "--disable-pip-version-check", "--root-user-action=ignore", "--target", str(target), str(ROOT),
            ],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        print(f"starting and memory are not measured: pip: {error.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return {**os.environ, "PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}


def starting(scratch: Path, environment: dict[str, str]) -> list[Row]:
    target = scratch / "installed"

    def run(*arguments: str) -> object:
        return subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, cwd=scratch, env=environment
        )

    def nothing() -> object:
        return run("-c", "pass")

    runs = [nothing, lambda: run("-c", "import ebpfpy")]
    rows = []
    taken = side_by_side(*runs)
    rows.append(Row("import ebpfpy, over an empty program", taken[1], taken[0], "ms", 15, "difference"))
    if (target / "ebpfpy" / "__main__.py").exists():
        taken = side_by_side(nothing, lambda: run("-m", "ebpfpy", "--help"))
        rows.append(Row("python -m ebpfpy --help", taken[1], taken[0], "ms", 60, "ours"))
        script = target / "bin" / "ebpfpy"
        if script.exists():
            taken = side_by_side(nothing, lambda: run(str(script), "--help"))
            rows.append(Row("console script ebpfpy --help", taken[1], taken[0], "ms", 60, "ours"))
    return rows


def show(rows: list[Row]) -> None:
    """Print the table."""
    print(f"{'what':<46}{'ours':>12}{'peer':>12}{'ratio':>8}  {'budget':<16}")
    for row in rows:
        peer = f"{row.peer:.3f} {row.unit}" if row.peer is not None else "-"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        budget = "-"
        if row.budget is not None:
            unit = "x" if row.rule == "ratio" else f" {row.unit} more" if row.rule == "difference" else f" {row.unit}"
            budget = f"{row.budget:g}{unit} {'OVER' if row.over else 'ok'}"
        print(f"{row.what:<46}{f'{row.ours:.3f} {row.unit}':>12}{peer:>12}{ratio:>8}  {budget:<16}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
