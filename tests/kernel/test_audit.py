"""The audit of attach targets against what the kernel then does: its verdict is tried out."""

import contextlib
import random
import re
import subprocess
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf, features, link
from ebpfpy.asm import exit_, mov_imm
from ebpfpy.errors import EbpfError
from ebpfpy.sys import AttachType, ProgramType
from tests.kernel import modules
from tests.kernel.blueprints import collection_of, program_of
from tests.kernel.features import require, require_module_tracing

SAMPLE = 24
_COPY = re.compile(r"^[0-9a-f]+ [tT] (\w+)\.(?:isra|constprop)\.\d+$", re.MULTILINE)


@pytest.fixture(autouse=True)
def tracing():
    require_module_tracing()


@pytest.fixture(scope="module", autouse=True)
def modules_are_unloaded_afterwards():
    with modules.unloaded_afterwards("tun"):
        yield


@pytest.fixture(scope="module", autouse=True)
def tracefs():
    """What ftrace can hook is told in tracefs."""
    if not Path("/sys/kernel/tracing/available_filter_functions").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=True)


def refusal(name, cache):
    """Why a program that does nothing cannot be attached to a kernel function; None if it can."""
    blueprint = program_of(
        [mov_imm(0, 0), exit_()],
        kind=ProgramType.TRACING,
        name="nothing",
        section=f"fentry/vmlinux:{name}",
        attach_type=AttachType.TRACE_FENTRY,
        attach_to=name,
        attach_module="vmlinux",
    )
    try:
        with (
            ebpfpy.Collection(collection_of(blueprint), ebpfpy.CollectionOptions(cache=cache)) as collection,
            link.attach(collection.programs["nothing"]),
        ):
            return None
    except EbpfError as error:
        return str(error)


def test_the_verdict_on_random_functions_is_what_the_kernel_does(cache):
    kernel = cache.kernel()
    names = [t.name for t in kernel if isinstance(t, btf.Func)]
    picked = random.Random(7).sample(sorted(set(names)), SAMPLE)
    wrong = []
    for name in picked:
        audit = features.explain_target(name, "vmlinux", cache=cache)
        assert audit.traceable is not None
        why = refusal(name, cache)
        if (audit.fentry is None) != (why is None):
            wrong.append((name, audit.fentry, why))
    assert not wrong


def test_a_function_that_the_compiler_changed_is_recognised_before_the_kernel_refuses(cache):
    symbols = Path("/proc/kallsyms").read_text()
    plain = set(re.findall(r"^[0-9a-f]+ [tT] (\w+)$", symbols, re.MULTILINE))
    changed = [name for name in _COPY.findall(symbols) if name not in plain]
    # where BTF describes such a function, that one: only there does the kernel get to refuse
    described = [name for name in changed if cache.kernel().ids_by_name(name.encode(), (btf.Kind.FUNC,))]
    name = (described or changed)[0]
    audit = features.explain_target(name, "vmlinux", cache=cache)

    assert audit.verdict == "attachable under another name"
    assert audit.fentry is not None
    assert bool(described) == ("the compiler changed the function" in audit.fentry)
    assert audit.sections
    assert all(section.startswith(f"kprobe/{name}.") for section in audit.sections)
    why = refusal(name, cache)
    assert why is not None
    if described:  # the kernel got to refuse: the error has the audit's verdict, and what to do
        assert audit.fentry in why
        assert f'SEC("{audit.sections[0]}") can' in why


def test_a_modules_function_is_found_once_the_module_is_there():
    before = features.explain_target("tun_chr_open")
    if not before.attachable:
        assert "the module that has it not loaded" in before.reasons[0]
    modules.load("tun")
    audit = features.explain_target("tun_chr_open")

    assert audit.fentry is None
    assert audit.sections[0] == "fentry/tun:tun_chr_open"
    assert audit.traceable is True


def test_what_kprobes_forbid_is_said_where_the_list_can_be_read():
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True, capture_output=True)
    path = Path("/sys/kernel/debug/kprobes/blacklist")
    require(None if path.exists() else "no list of functions that kprobes refuse (debugfs)")
    name = next(parts[1] for parts in map(str.split, path.read_text().splitlines()) if len(parts) == 2)
    audit = features.explain_target(name)

    assert audit.blacklisted is True
    assert audit.kprobe is not None
