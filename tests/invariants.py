"""What holds for any bytes that claim to be BTF, .BTF.ext or an object: each question has an answer or an `EbpfError`.

For hypothesis and for the fuzzer. Everything that can be asked of types is asked: walked, printed, written as C,
decoded, copied, deduplicated, moved to other bases. Answers that must agree with each other are compared.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ebpfpy import btf, core
from ebpfpy.btf.same import _look
from ebpfpy.btf.text import describe_with_id
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import EbpfError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_TYPES = 400
"""Types that are asked one by one; of longer specs the first ones."""
LARGEST_VALUE = 1 << 9


@contextmanager
def refusals() -> Iterator[None]:
    """Lets an `EbpfError` pass that says something; anything else is a fault."""
    try:
        yield
    except EbpfError as error:
        if not str(error).strip():
            raise AssertionError("an error without words") from error


def ask_bytes(data: bytes, base: btf.Spec | None = None) -> None:
    """Parse BTF and ask everything of it."""
    spec = None
    with refusals():
        spec = btf.Spec(data, base, name="asked")
    if spec is not None:
        ask_spec(spec)


def ask_spec(spec: btf.Spec) -> None:
    """Ask everything of the types of a spec."""
    for type_id in range(spec.first_id, spec.first_id + MOST_TYPES):
        try:
            spec.locate(type_id)
        except EbpfError:
            break
        with refusals():
            ask_type(spec, type_id)
    for whole in (
        lambda: spec.pointer_size,
        lambda: repr(spec),
        lambda: list(btf.dump_raw(spec)),
        lambda: "".join(btf.format_header(spec)),
        lambda: ask_copy(spec),
        lambda: ask_deduplicated(spec),
        lambda: ask_sanitized(spec),
        lambda: btf.diff(spec, spec),
    ):
        with refusals():
            whole()
    if spec.base is not None:
        ask_split(spec, spec.base)


def ask_type(spec: btf.Spec, type_id: int) -> None:
    """Ask everything of one type."""
    with refusals():
        describe_with_id(spec, type_id)
    with refusals():
        list(btf.dump_raw(spec, ids=[type_id]))
    of = spec.type_by_id(type_id)
    assert spec.type_by_id(type_id) is of
    assert spec.type_id(of) == type_id
    assert repr(of)
    name = getattr(of, "name", "x")
    with refusals():
        found = spec.any_types_by_name(name)
        assert of in found or not hasattr(of, "name") or not _is_plain(name)
    with refusals():
        spec.types_by_essential_name(name)
    with refusals():
        spec.type_by_name(name, type(of))
    for question in (btf.resolve, btf.alignof, btf.format_c, _look, lambda each: btf.decode(each, b"")):
        with refusals():
            question(of)
    with refusals():
        assert btf.same_type(of, of)
    size = -1
    with refusals():
        size = btf.sizeof(of)
        assert size >= 0
    if 0 <= size <= LARGEST_VALUE:
        data = bytes(range(1, 256)) * (size // 255 + 1)
        with refusals():
            btf.dump_data(of, data[:size])
        with refusals():
            value = btf.decode(of, data[:size])
            assert len(btf.encode(of, value)) == size


def _is_plain(name: str) -> bool:
    """Whether the bytes of a name are text, and can so be looked for."""
    return "\\x" not in name


def contents(spec: btf.Spec) -> list[tuple[Any, ...]]:
    """Every own type by itself, and the ids that it refers to."""
    found = []
    for of in spec:
        look, inner = _look(of)
        found.append((*look, *(spec.type_id(each) for each in inner)))
    return found


def ask_copy(spec: btf.Spec) -> None:
    """A copy that was written has the same types, in either byte order, with either header."""
    before = contents(spec)
    builder = btf.Builder(spec.base)
    builder.add_all(spec)
    assert contents(btf.Spec(builder.marshal(spec.byte_order), spec.base)) == before
    if spec.base is None:
        other = "big" if spec.byte_order == "little" else "little"
        assert contents(btf.Spec(builder.marshal(other, header_size=32))) == before


def ask_deduplicated(spec: btf.Spec) -> None:
    """Every type becomes one of the same kind, or the definition of what it declared."""
    done = btf.deduplicate_with_map(spec)
    assert len(done.spec) <= len(spec)
    assert len(done.ids) == spec.first_id + len(spec)
    assert list(done.ids[: spec.first_id]) == list(range(spec.first_id))
    assert set(done.ids[spec.first_id :]) >= set(range(spec.first_id, spec.first_id + len(done.spec)))
    for type_id in range(spec.first_id, spec.first_id + len(spec)):
        old, new = spec.kind_of(type_id), done.spec.kind_of(done.ids[type_id])
        assert new == old or (old in _DECLARING and new in _DEFINING), (type_id, old, new)
    assert len(list(done.spec)) == len(done.spec)


_DECLARING = frozenset({btf.Kind.FWD, btf.Kind.ENUM, btf.Kind.ENUM64})
_DEFINING = frozenset({btf.Kind.STRUCT, btf.Kind.UNION, btf.Kind.ENUM, btf.Kind.ENUM64})


def ask_sanitized(spec: btf.Spec) -> None:
    """For the oldest kernels and without some feature alone: every type keeps its id."""
    features = list(btf.Feature)
    for missing in (btf.Feature.everything(), features[sum(spec.raw) % len(features)]):
        plain = btf.Spec(btf.sanitize(spec, missing))
        assert len(spec) <= len(plain) <= len(spec) + 1


def ask_split(spec: btf.Spec, base: btf.Spec) -> None:
    """Check, merge, distil and relocate a split."""
    with refusals():
        report = btf.check_split(spec, base)
        assert str(report)
        report.as_dict()
    with refusals():
        btf.check_split(bytes(spec.raw), base)
    with refusals():
        ask_merged(btf.merge_splits([spec, spec], name="merged"), spec, base)
    for mode in (None, "kernel"):
        with refusals():
            btf.relocate_base(spec, other_base(), strict=mode)
        with refusals():
            btf.relocate_base(spec, base, strict=mode)
    with refusals():
        small, distilled = btf.distill_base(spec)
        assert len(small) <= len(base)
        assert len(distilled) >= len(spec)
        home = btf.relocate_base(distilled, base)
        assert home.first_id == spec.first_id
        assert len(home) == len(distilled)


def ask_merged(merged: btf.MergedSpec, spec: btf.Spec, base: btf.Spec) -> None:
    """Two of a kind: each type of both is there, once if nothing speaks against it, and knows where it comes from."""
    twice = {btf.Kind.VAR, btf.Kind.DATASEC}
    for type_id in range(spec.first_id, spec.first_id + len(spec)):
        ids = [merged.merged_id(module, type_id) for module in (0, 1)]
        kinds = [merged.kind_of(each) for each in ids]
        old = spec.kind_of(type_id)
        assert kinds[0] == old or (old in _DECLARING and kinds[0] in _DEFINING)
        assert ids[0] == ids[1] or kinds[0] in twice or old in _DECLARING or kinds[0] != btf.Kind.INT
        for each in ids:
            assert merged.origins(each) == ((spec.name,) if each > len(base) else (base.name,))


_BASES: list[btf.Spec] = []


def other_base() -> btf.Spec:
    """A small base with common names, to move splits to."""
    if not _BASES:
        builder = btf.Builder()
        number = btf.Int("int", 4, 1)
        builder.add_all(
            (
                btf.Struct("filler", 3),
                number,
                btf.Int("unsigned int", 4),
                btf.Int("char", 1, 1),
                btf.Struct("file", 184, (btf.Member("f_mode", number),)),
                btf.Struct("file", 16),
                btf.Fwd("module"),
                btf.Enum("e", 4, (btf.Enumerator("A", 1),)),
            )
        )
        _BASES.append(builder.spec("other"))
    return _BASES[0]


def ask_ext(data: bytes, spec: btf.Spec) -> None:
    """Read .BTF.ext, and follow what it refers to."""
    with refusals():
        info = btf.parse_ext(data, spec)
        records = sum(map(len, (*info.functions.values(), *info.lines.values(), *info.relocations.values())))
        assert 8 * records <= len(data)
        for relocation in (each for found in info.relocations.values() for each in found):
            with refusals():
                spec.type_by_id(relocation.type_id)
                spec.string(relocation.access_off)


def ask_object(data: bytes) -> None:
    """Read an object file, relocate it to its own types and to others."""
    with refusals():
        btf.load_spec(data)
    with refusals():
        read = load_collection_spec(data)
        if sum(len(each.contents or b"") for each in read.maps.values()) > len(data):
            return  # zeros that the file only promises; printing and copying them tells nothing
        repr(read)
        read.copy()
        for target in ([read.types] if read.types is not None else [], [other_base()]):
            with refusals():
                report = read.relocate(target)
                report.to_json()


def ask_relocation(spec: btf.Spec, target: btf.Spec, type_id: int, access: str, kind: int) -> None:
    """Put one CO-RE question to types."""
    with refusals():
        question = core.Relocation(spec, type_id, access, core.RelocationKind(kind % len(core.RelocationKind)))
        for fixup in core.relocate([question], [target]):
            assert str(fixup)
            fixup.explain()
