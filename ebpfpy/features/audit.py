"""Can this function be attached to, and how? The answer before a load, or after one that failed.

Four things have to come together before fentry and its relatives work, and each is known somewhere else:

* BTF has a FUNC of that name, in the kernel or in a module. Two of them are two different functions.
* kallsyms has *that* symbol. The compiler may have kept only a changed copy, ``name.isra.0``: BTF still says ``name``,
  and the load fails. Or the symbol is gone after boot, as all of a module's or the kernel's ``__init`` code is.
* ftrace can hook it: its address is in ``available_filter_functions``. Code that is ``notrace`` or assembler is not,
  and there kprobes are refused, too (`evidence`).
* The verifier can describe its arguments: 12 at most, no "...", nothing larger than 16 bytes by value.

A function without a FUNC was left out by the encoder of BTF (pahole), mostly because one name stands for several
functions, or because the compiler changed what arguments it takes. kprobes need neither BTF nor a prototype.

If one name stands for several functions in the kernel and BTF has one of them, fentry does attach: to the first that
the kernel's own look-up finds, which need not be the one that BTF describes. That is luck, and not offered.

Nothing is attached or loaded here, and nothing needs a capability but the two files of tracefs (root); where they
cannot be read the answer says so. The same works on the files of another machine.

Source: Linux, ``bpf_check_attach_target``, ``btf_distill_func_proto``; measured on Debian's kernels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ebpfpy import btf
from ebpfpy.btf.context import why_not_followed
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.load import looks_into_modules
from ebpfpy.btf.names import encode_name
from ebpfpy.btf.spec import spec_list
from ebpfpy.errors import BtfError, InputError, NotFoundError
from ebpfpy.sys.kallsyms import CODE, PATH, Symbol, read_symbols
from ebpfpy.sys.rights import hides_addresses, lockdown
from ebpfpy.sys.syscallnames import WRAPPERS, system_call
from ebpfpy.sys.vmlinux import VMLINUX

from .evidence import PADDING, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAME: Final = re.compile(r"[\w.$@-]+")


class Function(NamedTuple):
    """A FUNC of BTF.

    Attributes:
        module: whose BTF has it; None for the kernel's own.
        type_id: its id there.
        prototype: in C.
        problem: why the verifier cannot describe its arguments to a program; None if it can.
    """

    module: str | None
    type_id: int
    prototype: str
    problem: str | None

    @property
    def place(self) -> str:
        """The module's name, or "vmlinux"."""
        return self.module or VMLINUX


class TargetAudit(NamedTuple):
    """What is known about a name, and what follows from it.

    Attributes:
        name: the function.
        module: where it was looked for; None: everywhere.
        functions: every FUNC of that name.
        symbols: every code symbol of that name, and of its compiler-made copies.
        traceable: whether ftrace can hook code of that name; None where nobody may know.
        blacklisted: whether kprobes refuse it; None likewise.
        fentry: None if fentry, fexit and fmod_ret can attach to the function that is meant, else why not.
        lucky: fentry attaches nevertheless, but to the first of several functions of that name.
        kprobe: None if a kprobe can attach by that name, with the module where need be; else why not.
        sections: what to write in ``SEC()``, the best first.
        reasons: what explains the picture, in words.
    """

    name: str
    module: str | None
    functions: tuple[Function, ...]
    symbols: tuple[Symbol, ...]
    traceable: bool | None
    blacklisted: bool | None
    fentry: str | None
    lucky: bool
    kprobe: str | None
    sections: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def attachable(self) -> bool:
        """Whether anything can be attached."""
        return bool(self.sections)

    @property
    def verdict(self) -> str:
        """One line: "attachable by fentry and kprobe", "attachable by luck only", "not attachable"."""
        ways = [way for way, why in (("fentry", self.fentry), ("kprobe", self.kprobe)) if why is None]
        if len(ways) == 2:
            return "attachable by fentry and kprobe"
        if ways:
            return f"attachable by {ways[0]} only"
        if self.sections:
            return "attachable under another name"
        return "attachable by luck only" if self.lucky else "not attachable"

    def as_dict(self) -> dict[str, Any]:
        """The audit as JSON-ready data."""
        return {
            "name": self.name,
            "module": self.module,
            "verdict": self.verdict,
            "fentry": self.fentry,
            "lucky": self.lucky,
            "kprobe": self.kprobe,
            "sections": list(self.sections),
            "functions": [function._asdict() | {"module": function.place} for function in self.functions],
            "symbols": [symbol._asdict() | {"module": symbol.module or VMLINUX} for symbol in self.symbols],
            "traceable": self.traceable,
            "blacklisted": self.blacklisted,
            "reasons": list(self.reasons),
        }


def explain_target(
    name: str,
    module: str | None = None,
    *,
    kernel_types: Iterable[btf.Spec] | None = None,
    kallsyms: str | None = None,
    cache: btf.Cache | None = None,
) -> TargetAudit:
    """Find out where a function is and what can be attached to it.

    Args:
        name: of the function, as BTF or kallsyms has it.
        module: look only there ("vmlinux": the kernel itself); None: everywhere.
        kernel_types: the BTF of another machine, vmlinux first; None: the running kernel and its modules.
        kallsyms: a file in the format of /proc/kallsyms that belongs to `kernel_types`. None: the running kernel's;
            with `kernel_types`, symbols are unknown then.
        cache: the running kernel's types, where they are at hand.

    Raises:
        InputError: that is no name; or the file has no symbols.
        KernelError: kallsyms cannot be read.
        NotFoundError: the running kernel has no BTF, and no `kernel_types` were given.
    """
    encode_name(name)  # refuses what is no string
    if not is_function(name):
        raise InputError(f"{name!r} is not the name of a function")
    if module is not None:
        encode_name(module)
        if not is_name(module):
            raise InputError(f"{module!r} is not the name of a module")
        module = module.replace("-", "_")
    if cache is not None and not isinstance(cache, btf.Cache):
        raise InputError(f"cache is {cache!r:.60}, not Cache or None")
    if kernel_types is not None:
        kernel_types = spec_list(kernel_types)
    live = kernel_types is None
    specs = _running_kernel(cache or btf.Cache()) if kernel_types is None else list(kernel_types)
    path = kallsyms if kallsyms is not None else PATH if live else None
    return audit_of(name, module, specs, Evidence(None if path is None else read_symbols(path), live=live))


def audit_of(name: str, module: str | None, specs: Sequence[btf.Spec], evidence: Evidence) -> TargetAudit:
    """`explain_target`, of what was read before: the kernel's types, its modules', and what the machine tells."""
    every = evidence.copies(name)
    anywhere = evidence.exact(name)
    functions = [each for spec in specs for each in _functions(spec, name, module)]
    places = {each.module for each in functions}
    if module is not None:
        place = None if module == VMLINUX else module
        functions = [each for each in functions if each.module == place]
        every = [each for each in every if each.module == place]
    exact = _exact(name, every)
    refusals, lucky = _refusals(name, functions, every, anywhere, evidence)
    if specs and not looks_into_modules(specs[0]):
        refusals |= _taken_for_others(refusals, [each for each in anywhere if each.kind in CODE])
    fentry: str | None = "BTF has no function of that name"
    if refusals:
        fentry = None if None in refusals.values() else next(iter(refusals.values()))
    kprobe, probes = _kprobes(name, every, anywhere, evidence)
    if not exact:
        probes = [section for copy in _copies(name, every) for section in _copys_kprobes(copy, every, evidence)]
    traceable = _any([evidence.traceable(each) for each in exact])
    return TargetAudit(
        name, module, tuple(functions), tuple(every),
        traceable, _any([evidence.blacklisted(each) for each in exact]),
        fentry, bool(lucky) and fentry is not None, kprobe,
        (*_fentries(name, refusals, alone=len(places) == 1), *probes),
        tuple(_reasons(name, module, specs, functions, every, evidence)),
    )  # fmt: skip


def is_function(text: str) -> bool:
    """Whether a function can be called so: no pattern, no address."""
    return is_name(text) and not text[0].isdigit()


def is_name(text: str) -> bool:
    """Whether a function, or a module, can be called so."""
    return _NAME.fullmatch(text) is not None


def _running_kernel(cache: btf.Cache) -> list[btf.Spec]:
    return [cache.kernel(), *cache.modules()]


def _functions(spec: btf.Spec, name: str, module: str | None) -> list[Function]:
    found = []
    label = spec.name.replace("-", "_") if spec.split else None
    try:
        for type_id in spec.ids_by_name(encode_name(name), (Kind.FUNC,)):
            function = spec.type_by_id(type_id)
            assert isinstance(function, btf.Func)
            found.append(Function(label, type_id, btf.format_c(function).strip(), why_not_followed(function.proto)))
    except (BtfError, NotFoundError) as error:
        if not spec.split:
            raise
        if module == label:  # else nobody asked for it
            found.append(Function(label, 0, "", f"the module's BTF is malformed: {error}"))
    return found


def _any(answers: Sequence[bool | None]) -> bool | None:
    return True if True in answers else None if None in answers else False


def _exact(name: str, symbols: Sequence[Symbol]) -> list[Symbol]:
    return [symbol for symbol in symbols if symbol.name == name]


def _copies(name: str, symbols: Sequence[Symbol]) -> list[str]:
    """Names of what the compiler made of it and that can be called: not the cold half of a function."""
    return sorted({s.name for s in symbols if s.name != name and ".cold" not in s.name})


def _refusals(
    name: str, functions: list[Function], symbols: list[Symbol], anywhere: list[Symbol], evidence: Evidence
) -> tuple[dict[str | None, str | None], set[str | None]]:
    """For each place that has a FUNC of that name: why fentry cannot attach, None if it can; and where by luck."""
    found: dict[str | None, str | None] = {}
    lucky: set[str | None] = set()
    for place in dict.fromkeys(function.module for function in functions):
        here = [function for function in functions if function.module == place]
        if len(here) > 1:
            why: str | None = (
                f"BTF of {_place(place)} describes {len(here)} functions of that name,"
                " and it cannot be told which is which"
            )
        elif here[0].problem is not None or evidence.text is None:
            why = here[0].problem
        else:
            why, by_luck = _refusal(name, place, symbols, anywhere, evidence)
            if by_luck:
                lucky.add(place)
        found[place] = why
    return found, lucky


def _refusal(
    name: str, place: str | None, symbols: list[Symbol], anywhere: list[Symbol], evidence: Evidence
) -> tuple[str | None, bool]:
    """Why fentry cannot attach to the one function of that name in a place, or should not; and whether it does."""
    own = [symbol for symbol in anywhere if symbol.module == place]
    taken = own or (anywhere if place is None else [])  # the kernel looks on in its modules
    first = taken[0] if taken else None
    code = [symbol for symbol in own if symbol.kind in CODE]
    copies = _copies(name, [symbol for symbol in symbols if symbol.module == place])
    by_luck = first is not None and evidence.why_not_hooked(first) is None
    if not code:
        why = (
            f"{_place(place)} only has {', '.join(copies)}: the compiler changed the function"
            if copies
            else f"{_place(place)} has no code of that name: it was inlined everywhere, or was for start-up only"
        )
        return why, by_luck
    assert first is not None
    if len({symbol.address for symbol in code}) > 1 or (len(code) > 1 and not first.address):
        why = f"{len(code)} functions in {_place(place)} have that name"
        if by_luck:
            why += ", and BTF describes one: it attaches to the first, which is right by luck only"
        return why, by_luck
    return evidence.why_not_hooked(first), False


def _taken_for_others(refusals: dict[str | None, str | None], symbols: list[Symbol]) -> dict[str | None, str | None]:
    """Functions of modules that a kernel before 6.4, which looks for the bare name, may take for another one."""
    places = [_place(symbol.module) for symbol in symbols]
    why = f"this kernel looks for the bare name, which {', '.join(places)} have: Linux 6.4 looks into the module"
    return {place: why for place, known in refusals.items() if place is not None and known is None and len(places) > 1}


def _kprobes(
    name: str, symbols: list[Symbol], anywhere: list[Symbol], evidence: Evidence
) -> tuple[str | None, list[str]]:
    """Why a kprobe cannot attach to any of the symbols of that name; or the sections with which it does.

    Args:
        name: of the symbols.
        symbols: code in the places that are asked about.
        anywhere: every symbol of that name: where there are several, each section names the module.
        evidence: of the machine.
    """
    if evidence.text is None:
        return "unknown without kallsyms", []
    exact = _exact(name, symbols)
    if not exact:
        return "kallsyms has no code of that name", []
    if evidence.no_kprobes is not None:
        return evidence.no_kprobes, []
    refusals, sections = [], []
    for place in dict.fromkeys(symbol.module for symbol in exact):
        here = [symbol for symbol in exact if symbol.module == place]
        why = evidence.why_no_kprobe(here[0])
        if len(here) > 1:
            why = (
                f"{len(here)} functions in {_place(place)} have that name: a kprobe by name is refused"
                " (before Linux 6.7 it takes the first)"
            )
        if why is None:
            sections.append(f"kprobe/{f'{place or VMLINUX}:' if len(anywhere) > 1 else ''}{name}")
        else:
            refusals.append(why)
    return None if sections else refusals[0], sections


def _copys_kprobes(copy: str, symbols: list[Symbol], evidence: Evidence) -> list[str]:
    return _kprobes(copy, symbols, evidence.exact(copy), evidence)[1]


def _fentries(name: str, refusals: dict[str | None, str | None], *, alone: bool) -> list[str]:
    found = []
    for place, why in refusals.items():
        if why is None:
            where = f"{place}:" if place else "" if alone else f"{VMLINUX}:"
            found.append(f"fentry/{where}{name}")
    return found


def _place(module: str | None) -> str:
    return f"module {module}" if module else "the kernel"


def _reasons(
    name: str,
    module: str | None,
    specs: Sequence[btf.Spec],
    functions: list[Function],
    symbols: list[Symbol],
    evidence: Evidence,
) -> list[str]:
    reasons = []
    places = {function.module for function in functions}
    if len(places) > 1:
        listed = ", ".join(sorted(_place(place) for place in places))
        reasons.append(f"{listed} each have a function of that name: say which one is meant")
    reasons += [f"{function.place}: {function.problem}" for function in functions if function.problem]
    copies = _copies(name, symbols)
    if copies:
        reasons.append(
            f"the compiler made changed copies ({', '.join(copies)}): calls of those are not seen under {name}"
        )
    if symbols and not functions:
        reasons += _why_left_out(name, specs, symbols)
    if not symbols and not functions:
        where = f"in {_place(None if module == VMLINUX else module)}" if module else "anywhere"
        known = "neither BTF nor kallsyms has it" if evidence.text is not None else "BTF does not have it"
        reasons.append(f"{known} {where}: is it misspelt, or the module that has it not loaded?")
        reasons += _why_wrapped(name, specs, evidence)
        near = specs[0].near_names(name) if specs else ()
        if near:
            reasons.append(f"similar names: {', '.join(near)}")
    if symbols and all(symbol.address == 0 for symbol in symbols):
        why = hides_addresses() if evidence.live else "kernel.kptr_restrict"
        reasons.append(f"the kernel hides addresses ({why}), so equal ones cannot be told apart")
    exact = _exact(name, symbols)
    if len(exact) > len({symbol.module for symbol in exact}):
        reasons.append(
            "a kprobe at an address tells them apart: link.attach_kprobe(program, address=...), with one from kallsyms"
        )
    if None in [evidence.traceable(each) for each in exact or symbols] or evidence.text is None:
        locked = evidence.live and lockdown() == "confidentiality"
        why = "the kernel is locked down" if locked else "available_filter_functions needs root and tracefs"
        reasons.append(f"whether ftrace can hook it is not known: {why}")
    return reasons


def _why_wrapped(name: str, specs: Sequence[btf.Spec], evidence: Evidence) -> list[str]:
    """What a system call's function is called, where somebody asks for one by the name that older kernels gave it."""
    call = system_call(name)
    if call is None:
        return []
    wrappers = [prefix + call for prefix in WRAPPERS.values()]
    symbols = {each for each in wrappers if evidence.exact(each)}
    return [
        f'system call {call} is the function {each} here: SEC("ksyscall/{call}") finds it on every kernel and machine'
        for each in wrappers
        if each in symbols or any(spec.ids_by_name(encode_name(each), (Kind.FUNC,)) for spec in specs[:1])
    ]


def _why_left_out(name: str, specs: Sequence[btf.Spec], symbols: list[Symbol]) -> list[str]:
    """Why a function that is there has no BTF."""
    exact = _exact(name, symbols)
    with_types = {spec.name.replace("-", "_") for spec in specs if spec.split}
    for place in {symbol.module for symbol in symbols}:
        if place is not None and place not in with_types:
            return [f"module {place} has no BTF (built without it, or not fitting this kernel)"]
    if len(exact) > 1:
        return [f"BTF leaves it out: {len(exact)} functions have that name, and pahole cannot tell them apart"]
    if not exact:
        return ["BTF leaves it out: only changed copies are left, whose arguments are not those of the source"]
    if name.startswith(PADDING):
        return ["it is padding in front of a function, not one"]
    return [
        (
            "BTF leaves it out: probably assembler (no debug information), or its arguments do not lie where the"
            " calling convention puts them, or its prototype differs between two files"
        )
    ]
