"""The audit of attach targets against what the kernel then does: its verdict is tried out."""

import contextlib
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf, features, link
from ebpfpy.asm import exit_, mov_imm
from ebpfpy.errors import EbpfError
from ebpfpy.features.audit import audit_of
from ebpfpy.features.evidence import Evidence
from ebpfpy.sys import AttachType, ProgramType
from tests.kernel import modules
from tests.kernel.blueprints import collection_of, program_of
from tests.kernel.features import no_fentry, require, require_module_tracing

SAMPLE = 2
_SUFFIX = re.compile(r"\.(?:isra|part|constprop|cold)\b")
_COPY = re.compile(r"^[0-9a-f]+ [tT] ((\w+)\.(?:isra|constprop)\.\d+)$", re.MULTILINE)
_LISTED = Path("/sys/kernel/tracing/available_filter_functions")


@pytest.fixture(autouse=True)
def tracing():
    require(no_fentry())


@pytest.fixture(scope="module", autouse=True)
def modules_are_unloaded_afterwards():
    with modules.unloaded_afterwards("tun", modules.DEMO):
        yield


@pytest.fixture(scope="module", autouse=True)
def tracefs():
    """What ftrace can hook is told in tracefs."""
    if not _LISTED.exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=True)


def refusal(name, cache, module="vmlinux"):
    """Why a program that does nothing cannot be attached to a function by fentry; None if it can."""
    blueprint = program_of(
        [mov_imm(0, 0), exit_()],
        kind=ProgramType.TRACING,
        name="nothing",
        section=f"fentry/{module}:{name}",
        attach_type=AttachType.TRACE_FENTRY,
        attach_to=name,
        attach_module=module,
    )
    try:
        with (
            ebpfpy.Collection(collection_of(blueprint), ebpfpy.CollectionOptions(cache=cache)) as collection,
            link.attach(collection.programs["nothing"]),
        ):
            return None
    except EbpfError as error:
        return str(error)


def kprobe_refusal(program, function):
    """Why a program cannot be attached to a function as a kprobe; None if it can."""
    try:
        link.attach_kprobe(program, function).close()
    except EbpfError as error:
        return str(error)
    return None


def mixed_sample(text, kernel):
    """Pairs of a function and its module, a few of each class that the audit tells apart; the same ones each time."""
    symbols = [line.split() for line in text.decode().splitlines()]
    code = [
        (parts[2], parts[3].strip("[]") if len(parts) > 3 else None, parts[0]) for parts in symbols if parts[1] in "tT"
    ]
    listed = set(_LISTED.read_text().split())
    ends = {parts[2]: parts[0] for parts in symbols if parts[2] in ("_sinittext", "_einittext")}
    described = {each.name for each in kernel if isinstance(each, btf.Func)}
    names = Counter(name for name, _, _ in code)
    by_address = Counter(address for _, _, address in code)
    own = [(name, address) for name, module, address in code if module is None]
    for_start_up = {name for name, address in own if ends["_sinittext"] <= address < ends["_einittext"]}
    places = Counter(name for name, _ in {(name, module) for name, module, _ in code})
    classes = {
        "described": described,
        "notrace": {name for name in described - listed - for_start_up if names[name] == 1},
        "for start-up": for_start_up,
        "padding": {name for name, _ in own if name.startswith("__pfx_")},
        "duplicates": {name for name in described if names[name] > 1},
        "aliases": {name for name, address in own if by_address[address] > 1},
        "described aliases": {name for name, address in own if by_address[address] > 1 and name in described - listed},
        "copies": {name for name, _ in own if "." in name and _SUFFIX.search(name)},
        "copied": {name.partition(".")[0] for name, _ in own if "." in name and _SUFFIX.search(name)},
    }
    of_modules = {
        "of modules": {(name, module) for name, module, _ in code if module is not None and "__" not in module},
        "in two places": {(name, module) for name, module, _ in code if places[name] > 1 and module != "bpf"},
    }
    choose = random.Random(7)
    for label, found in (
        *((label, {(name, None) for name in found}) for label, found in classes.items()),
        *of_modules.items(),
    ):
        ordered = sorted(found, key=str)
        for pair in choose.sample(ordered, min(SAMPLE, len(ordered))):
            yield label, *pair


def test_the_verdict_on_functions_of_all_kinds_is_what_the_kernel_does(cache):
    modules.load("tun")
    modules.load(modules.DEMO)
    cache = btf.Cache()
    specs = [cache.kernel(), *cache.modules()]
    evidence = Evidence.of_running_kernel()
    wrong, tried = [], Counter()
    probe = collection_of(program_of([mov_imm(0, 0), exit_()], kind=ProgramType.KPROBE))
    with ebpfpy.Collection(probe) as collection:
        program = collection.programs["by_hand"]
        for label, name, module in mixed_sample(evidence.text, cache.kernel()):
            place = module or "vmlinux"
            audit = audit_of(name, place, specs, evidence)
            tried[label] += 1
            why = refusal(name, cache, place)
            if (audit.fentry is None or audit.lucky) != (why is None):
                wrong.append((label, place, name, "fentry", audit.fentry, audit.lucky, why))
            alone = len(evidence.exact(name)) == 1
            tried_as = name if alone else f"{place}:{name}"
            why = kprobe_refusal(program, tried_as)
            if (audit.kprobe is None) != (why is None):
                wrong.append((label, place, name, "kprobe", audit.kprobe, why))
            for section in audit.sections:
                way, _, where = section.partition("/")
                if way == "kprobe":
                    why = None if where == tried_as else kprobe_refusal(program, where)
                else:
                    inside, _, function = where.rpartition(":")
                    why = refusal(function, cache, inside or None)
                if why is not None:
                    wrong.append((label, section, why))
    assert not wrong, "\n".join(map(str, wrong))
    assert tried["described"] == tried["for start-up"] == tried["duplicates"] == tried["of modules"] == SAMPLE


def test_a_function_that_the_compiler_changed_is_recognised_before_the_kernel_refuses(cache):
    symbols = Path("/proc/kallsyms").read_text()
    plain = set(re.findall(r"^[0-9a-f]+ [tT] (\w+)$", symbols, re.MULTILINE))
    listed = set(_LISTED.read_text().split())
    changed = [name for copy, name in _COPY.findall(symbols) if name not in plain and copy in listed]
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
    require_module_tracing()
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
