"""Load an object, attach each program to what its section names, and print the records of its buffers.

Runs until interrupted, or until --duration or --count is reached. Whatever ends it, everything is detached
and closed. What was attached where goes to standard error, events go to standard output.

A program whose section names no place (xdp, tc, a bare kprobe) is left out with a note, as long as something else is
attached. If it was asked for with --program, or nothing is left, that is an error.

Buffers are ring buffers and perf buffers (maps of type PERF_EVENT_ARRAY). Structures of functions (struct_ops) are
attached, too.

The type of a buffer's records is found like this, first answer wins:
  1. --event-type
  2. the value type in the map's definition
  3. a struct called MAP_event, event_MAP, or like the map without its plural s
  4. struct event
  5. the only struct whose name ends in event
Several answers in one step are an error that lists them; without any the records are shown as bytes.
"""

from __future__ import annotations

import select
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ebpfpy import Collection, CollectionOptions, ProgramOptions, link, load_collection_spec
from ebpfpy.cli.disasm import select_programs
from ebpfpy.cli.events import EventPrinter
from ebpfpy.cli.eventtype import event_type
from ebpfpy.cli.kerneltypes import add_btf_option, types_of_files
from ebpfpy.cli.output import note
from ebpfpy.cli.settings import add_set_option, apply_settings
from ebpfpy.cli.status import OK, UsageError
from ebpfpy.cli.typenames import type_name
from ebpfpy.errors import InputError, UnsupportedError
from ebpfpy.sys.enums import MapType, ProgramType

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from types import FrameType

    from ebpfpy import perf, ringbuf
    from ebpfpy.elf import CollectionSpec
    from ebpfpy.loader import Map, Program

_BUFFERS = (MapType.RINGBUF, MapType.PERF_EVENT_ARRAY)
_LONGEST = 1e9
"""Seconds, some thirty years: more than a timer takes."""
_BATCH = 256
"""Records taken from one buffer before the next one has its turn."""
_BUSY_PAUSE = 0.001
"""Seconds to wait for a record that its program has reserved and not yet handed over."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("object", metavar="OBJECT", help="compiled BPF object file")
    parser.add_argument(
        "--program", action="append", default=[], metavar="NAME", help="only this program (repeatable; default: all)"
    )
    parser.add_argument("--map", metavar="NAME", help="only this buffer's events (default: all buffers)")
    parser.add_argument("--event-type", metavar="NAME", help="type of the records, from the object's own BTF")
    parser.add_argument("--duration", type=_seconds, metavar="S", help="end after that many seconds")
    parser.add_argument("--count", type=_count, metavar="N", help="end after that many events")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line for each event")
    add_set_option(parser)
    add_btf_option(parser, "the running kernel's own")


def run(options: argparse.Namespace) -> int:
    """Load, attach, print."""
    spec = load_collection_spec(options.object)
    chosen = {program.name for program in select_programs(spec.programs, options.program)}
    for name in set(spec.programs) - chosen:
        del spec.programs[name]
    for name in options.program:  # what is named is loaded, from a section with a leading "?", too
        spec.programs[name].autoload = True
    apply_settings(spec, options.settings)
    printers, remarks = _printers(spec, options)
    how = ProgramOptions(kernel_types=types_of_files(options.btf)) if options.btf else ProgramOptions()
    with _terminated_cleanly(), ExitStack() as stack:
        collection = stack.enter_context(Collection(spec, CollectionOptions(programs=how)))
        readers = [(_reader(collection.maps[name], stack), printer) for name, printer in printers.items()]
        for name in options.program:
            if name not in collection.programs:
                raise UnsupportedError(
                    f"program {name} is not attached: it implements {spec.programs[name].attach_to or 'no member'},"
                    " and no structure that is made refers to it",
                    feature="attaching",
                )
        _attach(collection, stack, asked_for=bool(options.program))
        for remark in [*remarks, *(f"note: {text}" for text in collection.notes)]:
            note(remark)
        _print_events(readers, duration=options.duration, count=options.count)
    return OK


def _attach(collection: Collection, stack: ExitStack, *, asked_for: bool) -> None:
    """Attach what the object says a place for, and say so; detached with the stack.

    Args:
        collection: the programs and structures.
        stack: closes the links.
        asked_for: the programs were named: then one that cannot be attached is an error, not a note.

    Raises:
        UnsupportedError, InputError: a section that names no place, where the program was asked for or is the only one.
    """
    attached = 0
    left_out: list[UnsupportedError | InputError] = []
    for program in collection.programs.values():
        if program.spec.type == ProgramType.STRUCT_OPS:
            continue  # attached with the structure that it is in
        try:
            lnk = stack.enter_context(link.attach(program))
        except (UnsupportedError, InputError) as error:
            if asked_for or not _names_no_place(program, error):
                raise
            left_out.append(error)
            continue
        note(f"attached {lnk.text}")
        attached += 1
    for each in collection.maps.values():
        if each.type == MapType.STRUCT_OPS:
            note(f"attached {stack.enter_context(link.attach_struct_ops(each)).text}")
            attached += 1
    if left_out and not attached:
        if len(left_out) == 1:
            raise left_out[0]
        why = "; ".join(map(str, left_out))
        raise UnsupportedError(f"no program is attached, since no section says where: {why}", feature="attaching")
    for why_not in left_out:
        note(f"not attached: {why_not}")
    if not attached:
        note("no program is attached: the object has none that loads by itself")


def _names_no_place(program: Program, error: UnsupportedError | InputError) -> bool:
    """Whether a program was not attached because its section does not say to what."""
    if isinstance(error, UnsupportedError):
        return (error.feature or "").startswith("attaching ")
    return not program.spec.attach_to


def _reader(events: Map, stack: ExitStack) -> ringbuf.Reader | perf.Reader:
    """A reader that is closed with the stack."""
    from ebpfpy import perf, ringbuf

    if events.type == MapType.RINGBUF:
        return stack.enter_context(ringbuf.Reader(events))
    return stack.enter_context(perf.Reader(events))


def _printers(spec: CollectionSpec, options: argparse.Namespace) -> tuple[dict[str, EventPrinter], list[str]]:
    """A printer for each buffer that is to be read, by the map's name; and what to say about them."""
    rings = {name: each for name, each in spec.maps.items() if each.type in _BUFFERS}
    if options.map is not None:
        if options.map not in rings:
            raise UsageError(f"--map {options.map}: no such buffer; the object has {', '.join(rings) or 'none'}")
        rings = {options.map: rings[options.map]}
    printers, remarks = {}, []
    for name, each in rings.items():
        found = event_type(name, spec.types, value=each.value, asked=options.event_type)
        what = type_name(found.type) or "bytes"
        remarks.append(f"events of map {name} are shown as {what}: {found.reason}")
        printers[name] = EventPrinter(name, found.type, as_json=options.json)
    if not rings:
        remarks.append("the object has no ring buffer or perf buffer: its programs run, and nothing is printed")
    return printers, remarks


def _print_events(
    readers: list[tuple[ringbuf.Reader | perf.Reader, EventPrinter]], *, duration: float | None, count: int | None
) -> None:
    """Print events as they come until the time or their number is reached.

    Args:
        readers: each with its printer.
        duration: seconds, None for ever.
        count: events of all readers together, None for no limit.
    """
    end = None if duration is None else time.monotonic() + duration
    left = count
    printed = 1  # what came before a descriptor is watched is not announced: look once before waiting
    with select.epoll() as epoll:
        for reader, _ in readers:
            epoll.register(reader.fileno(), select.EPOLLIN)
        while left is None or left > 0:
            wait = None if end is None else end - time.monotonic()
            if wait is not None and wait <= 0:
                return
            if not printed and not epoll.poll(wait):  # what was left behind by a limit is not announced again
                continue
            printed = 0
            for reader, printer in readers:
                limit = _BATCH if left is None else min(_BATCH, left)
                records = reader.poll(0, limit=limit) if limit else []
                sys.stdout.writelines(f"{printer.line(_bytes(record, printer))}\n" for record in records)
                printed += len(records)
                if left is not None:
                    left -= len(records)
            sys.stdout.flush()
            if not printed:
                time.sleep(_BUSY_PAUSE)


def _bytes(record: bytes | perf.Record, printer: EventPrinter) -> bytes:
    """What the program sent; what was lost before it is said."""
    if isinstance(record, bytes):
        return record
    if record.lost:
        note(f"{printer.map_name}: {record.lost} records of CPU {record.cpu} found no room")
    return record.data


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that everything in it is closed."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _LONGEST:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


_seconds.__name__ = "number of seconds"  # argparse says "invalid number of seconds value"
_count.__name__ = "count"
