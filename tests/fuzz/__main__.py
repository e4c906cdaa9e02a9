"""``python -m tests.fuzz``: fuzz everything that reads bytes, for a bounded time.

    python -m tests.fuzz                      all targets, a minute in all
    python -m tests.fuzz --seconds 600 btf    one target, ten minutes
    python -m tests.fuzz --replay FILE ...    run inputs that were kept, with the traceback of what they do

What is tried starts from ``testdata`` and grows by what reaches new code; that is kept in build/fuzz/TARGET, so that
the next run goes on from there. An input that fails is kept in build/fuzz as TARGET-crash-..., TARGET-timeout-...
or TARGET-oom-...; its path is printed, and the exit status is 1.

Needs Atheris, the dependency group ``fuzz``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "fuzz"
SECONDS_PER_INPUT = 20
"""Instrumented code is slow; what a small input makes last that long grows faster than its input."""
MEGABYTES = 2048


def main(words: list[str]) -> int:
    """Fuzz the targets one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz everything that reads bytes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--replay", action="store_true", help="the words are files that were kept")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.replay:
        return replay([Path(word) for word in options.targets])
    if options.inside:
        return fuzz(options.inside, options.seconds)
    from tests.fuzz.targets import TARGETS

    names = options.targets or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    failed = False
    for name in names:
        failed |= run(name, max(1, options.seconds // len(names)))
    print("fuzz: " + ("FAILED, the inputs are in build/fuzz" if failed else "no input did harm"), flush=True)
    return int(failed)


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own; whether an input failed."""
    from tests.fuzz.targets import TARGETS

    corpus = WORK / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    before = time.time()
    command = [sys.executable, "-m", "tests.fuzz", "--inside", name, "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    kept = [path for path in WORK.glob(f"{name}-*") if path.is_file() and path.stat().st_mtime >= before - 1]
    for path in kept:
        print(f"fuzz: {name}: see {path}: python -m tests.fuzz --replay {path.relative_to(ROOT)}", flush=True)
    if done.returncode and not kept:
        print(f"fuzz: {name} ended with exit status {done.returncode}", flush=True)
    return bool(done.returncode or kept)


def fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in this process, which ends with it."""
    try:
        import atheris
    except ImportError:
        print("fuzz: Atheris is not installed: pip install --group fuzz", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["ebpfpy"], enable_loader_override=False):
        import_all("ebpfpy.asm", "ebpfpy.btf", "ebpfpy.core", "ebpfpy.elf")  # now: later, they are not instrumented
    from tests.fuzz.mutations import mutate_btf
    from tests.fuzz.targets import TARGETS, divide, join

    target = TARGETS[name]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        parts = divide(data, target.parts)
        count = target.parts - (not target.btf)
        if count and random.random() < 0.7:
            index = random.randrange(count)
            changed = mutate_btf(parts[index], random)
            if changed is not None:
                parts[index] = changed
                if all(len(part) <= 0xFFFF for part in parts):
                    return join(*parts)[:most]
        index = random.randrange(len(parts))
        parts[index] = atheris.Mutate(parts[index], min(most, len(parts[index]) + 64))
        return join(*(part[:0xFFFF] for part in parts))[:most]

    arguments = [
        sys.argv[0],
        str(WORK / name),
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-report_slow_units={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={target.longest}",
        f"-artifact_prefix={WORK}/{name}-",
        "-print_final_stats=0",
        "-verbosity=1",
        f"-seed={int.from_bytes(os.urandom(3), 'little') + 1}",
    ]
    atheris.Setup(arguments, target.run, custom_mutator=mutate)
    atheris.Fuzz()
    return 0


def import_all(*packages: str) -> None:
    """Import packages with all of their modules."""
    for name in packages:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{name}.{module.name}")


def replay(paths: list[Path]) -> int:
    """Run inputs that were kept; the first fault ends it with its traceback."""
    import faulthandler

    from tests.fuzz.targets import TARGETS

    faulthandler.dump_traceback_later(SECONDS_PER_INPUT)
    for path in paths:
        name = path.name.partition("-")[0]
        if name not in TARGETS:
            name = path.parent.name
        print(f"{path}: {name}", flush=True)
        TARGETS[name].run(path.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
