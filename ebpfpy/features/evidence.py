"""What a machine tells about its code: symbols, what ftrace can hook, where kprobes are forbidden, and why.

Symbols are compared by address, not by name: of several names for one address ftrace lists the first only, and one name
may stand for several addresses of which ftrace can hook some. Measured on Debian's 5.10, 6.1, 6.12 and 7.2:

* A kprobe event (perf's as well as tracefs's) is refused with EINVAL in code that ftrace cannot hook anywhere between
  the symbol and the next, unless the kernel has CONFIG_KPROBE_EVENTS_ON_NOTRACE. For a copy, ``name.cold``, it is
  enough if ftrace can hook ``name``.
* Between ``_sinittext`` and ``_einittext`` is what ran at start-up only. kallsyms still has it; its memory does not.
* ``__pfx_name`` is room in front of a function, which nobody runs.

Source: Linux, ``within_notrace_func`` (kernel/trace/trace_kprobe.c), ``check_kprobe_address_safe`` (kernel/kprobes.c).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from ebpfpy.errors import NotFoundError, UnsupportedError
from ebpfpy.sys.ftracelist import TRACEFS, FtraceList, Traceable
from ebpfpy.sys.kallsyms import CODE, Symbol, copies_in, read_symbols, symbols_from, symbols_in
from ebpfpy.sys.kconfig import read_config
from ebpfpy.sys.pmu import unit
from ebpfpy.sys.rights import lockdown

if TYPE_CHECKING:
    from collections.abc import Sequence

BLACKLIST: Final = "/sys/kernel/debug/kprobes/blacklist"
PADDING: Final = ("__pfx_", "__cfi_")
_MADE_LATER: Final = ("bpf", "__builtin__ftrace", "__builtin__kprobes")
_NEIGHBOURS: Final = 16


class Forbidden(NamedTuple):
    """A range of addresses in which kprobes are refused; both are 0 where the kernel hides them."""

    start: int
    end: int
    name: str


class Evidence:
    """What one machine tells, each thing read once, when it is asked for; for the audit of many names, too.

    Args:
        text: of /proc/kallsyms, or of a file in its format; None: symbols are unknown.
        live: of the running kernel, whose other files then count.
    """

    def __init__(self, text: bytes | None, *, live: bool) -> None:
        self.text = text
        self.live = live

    @classmethod
    def of_running_kernel(cls) -> Evidence:
        """What the running kernel tells.

        Raises:
            KernelError: kallsyms cannot be read.
        """
        return cls(read_symbols(), live=True)

    def copies(self, name: str) -> list[Symbol]:
        """The code of that name and of its compiler-made copies."""
        return [symbol for symbol in copies_in(self.text, name) if symbol.kind in CODE] if self.text is not None else []

    def exact(self, name: str) -> list[Symbol]:
        """Every symbol of that name, code or not, in the order in which the kernel finds them."""
        return symbols_in(self.text, [name]) if self.text is not None else []

    def traceable(self, symbol: Symbol) -> bool | None:
        """Whether ftrace can hook it; None where nobody may know."""
        if self._listed is None:
            return None
        names = {symbol.name}
        if symbol.address and self.text is not None:
            same = symbols_from(self.text, symbol.address)
            names |= {each.name for each in same if each.module == symbol.module and each.kind in CODE}
        answers = [self._hooked(name, symbol) for name in names]
        return True if True in answers else None if None in answers else False

    def blacklisted(self, symbol: Symbol) -> bool | None:
        """Whether kprobes are forbidden there; None where nobody may know."""
        if self._forbidden is None:
            return None
        if not symbol.address or not any(each.end for each in self._forbidden):
            return any(each.name == symbol.name for each in self._forbidden)
        return any(each.start <= symbol.address < each.end for each in self._forbidden)

    def for_start_up(self, symbol: Symbol) -> bool:
        """Whether the code was for start-up only, and is gone since."""
        start, end = self._start_up
        return symbol.module is None and start <= symbol.address < end

    def why_not_hooked(self, symbol: Symbol) -> str | None:
        """Why ftrace, and with it fentry, cannot hook it; None if it can, or nobody may know."""
        if symbol.kind not in CODE:
            return "the first symbol of that name is no code"
        return self._why_never(symbol) or (
            "ftrace cannot hook it (it is notrace, or written in assembler)"
            if self.traceable(symbol) is False
            else None
        )

    def why_no_kprobe(self, symbol: Symbol) -> str | None:
        """Why a kprobe event cannot be there; None if nothing is known against it."""
        if why := self._why_never(symbol):
            return why
        if self.blacklisted(symbol):
            return "kprobes are forbidden there (it is on the kernel's blacklist)"
        if self.traceable(symbol) is not False or self._probes_everywhere:
            return None
        base, dot, _ = symbol.name.partition(".")
        original = self.exact(base)[:1] if dot else ()
        if any(self.traceable(each) for each in original):
            return None
        return "the kernel refuses kprobes where ftrace cannot hook (it is notrace, or written in assembler)"

    @cached_property
    def no_kprobes(self) -> str | None:
        """Why there are no kprobes by name at all; None if there are."""
        if not self.live:
            return None
        try:
            unit("kprobe")
        except UnsupportedError as error:
            return str(error)
        return "the kernel is locked down (confidentiality)" if lockdown() == "confidentiality" else None

    def _why_never(self, symbol: Symbol) -> str | None:
        if symbol.name.startswith(PADDING):
            return "it is padding in front of a function, not one"
        if symbol.module in _MADE_LATER:
            return "the kernel made that code while it ran: it is no function"
        if self.for_start_up(symbol):
            return "it was for start-up only (__init): its memory was freed since"
        return None

    def _hooked(self, name: str, symbol: Symbol) -> bool | None:
        """Whether a place of ftrace's that is listed under this name is in the code that begins at the symbol."""
        assert self._listed is not None
        places = [each for each in self._listed.places(name) if each[1].module == symbol.module]
        if not places or not symbol.address:
            return bool(places)
        same = [each for each in self.exact(name) if each.module == symbol.module and each.kind in CODE]
        starts = sorted({each.address for each in same})
        if not self._listed.with_addresses and len(places) >= len(starts):
            return True
        owners = [self._owner(line, place, starts) for line, place in places]
        return True if symbol.address in owners else None if None in owners else False

    def _owner(self, line: int, place: Traceable, starts: Sequence[int]) -> int | None:
        """Of several functions of one name: the one that a place in ftrace's list belongs to.

        The list is in the order of addresses. Where it does not tell them, they are behind the place before this one.
        """
        assert self._listed is not None
        if place.address:
            return max((start for start in starts if start <= place.address), default=None)
        for before in self._listed.before(line, _NEIGHBOURS):
            there = {each.address for each in self.exact(before.name) if each.module == place.module}
            if len(there) == 1 and before.module == place.module:
                return min((start for start in starts if start > min(there)), default=None)
        return None

    @cached_property
    def _listed(self) -> FtraceList | None:
        for tracefs in TRACEFS if self.live else ():
            try:
                return FtraceList.read(tracefs)
            except OSError:
                continue
        return None

    @cached_property
    def _forbidden(self) -> list[Forbidden] | None:
        """The lines ``0xffffffff81e01030-0xffffffff81e01050	asm_exc_divide_error``."""
        if not self.live:
            return None
        try:
            with open(BLACKLIST, encoding="ascii", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            return None
        found = []
        for words in lines:
            start, _, end = words[0].partition("-") if len(words) > 1 else ("", "", "")
            try:
                found.append(Forbidden(int(start, 16), int(end, 16), words[1]))
            except ValueError:
                continue
        return found

    @cached_property
    def _start_up(self) -> tuple[int, int]:
        if self.text is None:
            return 0, 0
        ends = {each.name: each.address for each in symbols_in(self.text, ["_sinittext", "_einittext"])}
        return ends.get("_sinittext", 0), ends.get("_einittext", 0)

    @cached_property
    def _probes_everywhere(self) -> bool:
        try:
            return read_config().get("CONFIG_KPROBE_EVENTS_ON_NOTRACE") == "y"
        except NotFoundError:
            return False
