"""What is fuzzed: name -> how to read the fuzzer's bytes, and seeds. The questions are those of `tests.invariants`.

An input that holds several things starts with the lengths of all but the last, as 16-bit numbers.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf
from ebpfpy.errors import EbpfError
from tests import invariants
from tests.slices import KERNELS, OBJECTS, object_sections, slice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SLICE = 12
"""Records in a piece of real BTF: few, as everything is asked of each."""


class Target(NamedTuple):
    """One thing to fuzz.

    Attributes:
        run: asks everything about one input; returns, or raises what is a fault.
        seeds: inputs to start from.
        parts: how many things an input holds; those that come before the last are BTF, the last as `btf` says.
        btf: whether the last part is BTF, too.
        longest: bytes of the longest input that is worth trying.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    parts: int = 1
    btf: bool = True
    longest: int = 4096


def join(*parts: bytes) -> bytes:
    """The input that holds these parts."""
    return b"".join(struct.pack("<H", len(part)) for part in parts[:-1]) + b"".join(parts)


def divide(data: bytes, count: int) -> list[bytes]:
    """The parts of an input, whatever its lengths say."""
    head = 2 * (count - 1)
    lengths = struct.unpack(f"<{count - 1}H", data[:head].ljust(head, b"\0"))
    at, parts = head, []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return [*parts, data[at:]]


def spec_or_none(data: bytes, base: btf.Spec | None = None) -> btf.Spec | None:
    """The types, if the header is right."""
    try:
        return btf.Spec(data, base, name="asked")
    except EbpfError:
        return None


# --- types that stand alone ------------------------------------------------------------------------


@cache
def kernel_slices() -> tuple[bytes, ...]:
    """Small pieces of both kernels, from places with different kinds."""
    found = []
    for path in KERNELS:
        spec = btf.load_spec(path / "vmlinux.btf.xz")
        last = len(spec)
        places = (1, 60, 1000, *(last * part // 9 for part in range(1, 9)), last - SLICE)
        found += [slice_of(spec, first, SLICE) for first in places]
    return tuple(found)


def builder_blobs() -> Iterator[bytes]:
    """Odd types of every kind, with both headers and in both byte orders."""
    from tests.differential.odd_types import each_odd_type

    types = each_odd_type()
    for at in range(0, len(types), 6):
        builder = btf.Builder()
        builder.add_all(types[at : at + 6])
        yield builder.marshal("little" if at % 4 else "big", header_size=32 if at % 3 else 24)


def object_blobs() -> Iterator[bytes]:
    """BTF of small objects; slices of large ones."""
    for path in OBJECTS:
        blob = object_sections(path).get(".BTF")
        if blob is None:
            continue
        spec = btf.Spec(blob)
        if len(blob) <= 1000:
            yield blob
        for first in range(1, len(spec) - SLICE, 240):
            yield slice_of(spec, first, SLICE)


def blobs() -> Iterator[bytes]:
    """BTF that stands alone."""
    yield from kernel_slices()
    yield from builder_blobs()
    yield from object_blobs()


# --- splits ----------------------------------------------------------------------------------------


def run_split(data: bytes) -> None:
    """A hostile base, and a hostile split on it."""
    lower, upper = divide(data, 2)
    base = spec_or_none(lower)
    if base is not None:
        invariants.ask_bytes(upper, base)


def splits() -> Iterator[bytes]:
    """Every piece of a kernel with types that continue it; a distilled pair."""
    path = KERNELS[1] / "distilled"
    base = btf.load_spec(path / "ebpfpy_demo.base.btf.xz")
    yield join(bytes(base.raw), bytes(btf.load_spec(path / "ebpfpy_demo.btf.xz", base=base).raw))
    for blob in kernel_slices():
        base = btf.Spec(blob)
        kinds = list(base)
        builder = btf.Builder(base)
        lock = next((each for each in kinds if isinstance(each, (btf.Struct, btf.Union)) and each.name), kinds[0])
        mine = btf.Struct("mine", 64, (btf.Member("lock", lock), btf.Member("next", btf.Pointer(kinds[-1]), 256)))
        proto = btf.FuncProto(btf.Pointer(kinds[0]), (btf.Param("m", btf.Pointer(mine)),))
        builder.add_all((mine, btf.Typedef("mine_t", btf.Array(mine, kinds[0], 3)), btf.Func("mine_init", proto, 1)))
        yield join(blob, builder.marshal())


# --- the rest --------------------------------------------------------------------------------------


def run_ext(data: bytes) -> None:
    """An object's types, and .BTF.ext about them."""
    blob, ext = divide(data, 2)
    spec = spec_or_none(blob)
    if spec is not None:
        invariants.ask_ext(ext, spec)


def exts() -> Iterator[bytes]:
    """Both sections of every object."""
    for path in OBJECTS:
        found = object_sections(path)
        if ".BTF.ext" in found:
            yield join(found[".BTF"], found[".BTF.ext"])


def run_relocation(data: bytes) -> None:
    """Local types, target types; then u16 type id, u8 kind, the access string."""
    local, there, question = divide(data, 3)
    spec, target = spec_or_none(local), spec_or_none(there)
    if spec is not None and target is not None and len(question) >= 3:
        type_id, kind = struct.unpack_from("<HB", question)
        access = question[3:].decode("utf-8", "replace")
        invariants.ask_relocation(spec, target, type_id, access, kind)


def relocations() -> Iterator[bytes]:
    """Questions of an object to its own types, and about pieces of one kernel to another."""
    for path in OBJECTS:
        found = object_sections(path)
        if len(found.get(".BTF", b"")) > 2500 or ".BTF.ext" not in found:
            continue
        spec = btf.Spec(found[".BTF"])
        for records in btf.parse_ext(found[".BTF.ext"], spec).relocations.values():
            for each in records[:4]:
                question = struct.pack("<HB", each.type_id, each.kind) + spec.string_bytes(each.access_off)
                yield join(found[".BTF"], found[".BTF"], question)
    for index, blob in enumerate(kernel_slices()):
        yield join(blob, blob, struct.pack("<HB", 1 + index, index % 13) + b"0:1:2")


def objects() -> Iterator[bytes]:
    """The smaller object files."""
    return (data for data in (path.read_bytes() for path in OBJECTS) if len(data) <= 10_000)


TARGETS = {
    "btf": Target(invariants.ask_bytes, blobs),
    "split": Target(run_split, splits, parts=2),
    "ext": Target(run_ext, exts, parts=2, btf=False, longest=16384),
    "core": Target(run_relocation, relocations, parts=3, btf=False, longest=8192),
    "object": Target(invariants.ask_object, objects, btf=False, longest=16384),
}
