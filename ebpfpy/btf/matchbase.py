"""The types of a distilled base, looked up in another base: the first half of `relocatebase`, and its two modes."""

from __future__ import annotations

from ebpfpy.errors import BtfError, InputError

from .basechoice import choose
from .baseproblem import BaseMatch, BaseProblem, problem_of, text_of
from .embedded import embedded_types
from .kernelmatch import match_as_kernel
from .kinds import KIND_MASK, KIND_SHIFT, Kind, kind_name
from .spec import Spec, check_spec
from .typeheads import COMPOSITES, head, heads_by_name, name_of

MODES = (None, "kernel")
_BASE_KINDS = frozenset({Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.STRUCT, Kind.UNION, Kind.FWD})


def is_distilled(spec: Spec) -> bool:
    """Whether a spec can be a distilled base: it stands alone and has only named types of kinds found by name.

    A struct, union or enum in it has no members or values; a spec without any types is none.
    """
    if spec.base is not None or not len(spec):
        return False
    for type_id in range(1, 1 + len(spec)):
        words, at = spec.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in _BASE_KINDS or not words[at]:
            return False
        if kind not in (Kind.INT, Kind.FLOAT, Kind.FWD) and words[at + 1] & 0xFF_FFFF:
            return False
    return True


def match_base(split: Spec, new_base: Spec, *, strict: str | None = None) -> BaseMatch:
    """Look the types of a distilled base up in another base; the first half of `relocate_base`, without the verdict.

    Args:
        split: split BTF on a distilled base.
        new_base: the types of a kernel.
        strict: None or "kernel", see `relocate_base`.

    Raises:
        InputError, BtfError: as `relocate_base`, `BaseMismatchError` excepted.
    """
    check_spec(split)
    check_spec(new_base)
    distilled = _distilled_base(split, new_base, strict)
    embedded = embedded_types(split, by_value=strict is None)
    names = {type_id: name_of(distilled, type_id) for type_id in range(1, 1 + len(distilled))}
    there = heads_by_name(new_base, set(names.values()))
    if strict == "kernel":
        return match_as_kernel(distilled, new_base, names, there, embedded)
    ids: dict[int, int] = {}
    problems: list[BaseProblem] = []
    notes: list[str] = []
    for type_id, name in names.items():
        wanted = head(distilled, type_id)
        candidates = there.get(name, [])
        found, reason = choose(wanted, candidates, embedded=type_id in embedded)
        if found is None:
            problems.append(problem_of(wanted, name, reason, candidates, embedded))
            continue
        ids[type_id] = found.type_id
        if found.kind != wanted.kind and found.kind == Kind.FWD:
            notes.append(f"{wanted.keyword} {text_of(name)}: it is declared there, not defined")
        elif wanted.kind in COMPOSITES and found.size != wanted.size:
            notes.append(f"{wanted.keyword} {text_of(name)}: {wanted.size} bytes became {found.size}, behind pointers")
    return BaseMatch(ids, tuple(problems), tuple(notes))


def check_mode(strict: str | None) -> None:
    """Refuse what is no mode of `match_base`.

    Raises:
        InputError: it is none.
    """
    if strict not in MODES:
        raise InputError(f'strict is None or "kernel", not {strict!r}')


def _distilled_base(split: Spec, new_base: Spec, strict: str | None) -> Spec:
    """The base of `split`, after everything was checked that both modes rely on."""
    check_mode(strict)
    base = split.base
    if base is None:
        raise InputError(f"{_label(split)} stands alone: only split BTF has a base to relocate")
    if base is new_base:
        raise InputError(f"{_label(split)} rests on {_label(new_base)} already")
    if strict == "kernel" and new_base.base is not None:
        raise InputError(f"{_label(new_base)} is split BTF: the kernel relocates to vmlinux only")
    if split.byte_order != new_base.byte_order:
        raise InputError(
            f"{_label(split)} is {split.byte_order}-endian, {_label(new_base)} {new_base.byte_order}-endian"
        )
    if base.base is not None:
        raise BtfError("the base is split BTF itself, so it is no distilled one", source=_label(base))
    for type_id in range(1, 1 + len(base)):
        words, at = base.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in _BASE_KINDS:
            raise BtfError(
                f"no distilled base: type {type_id} is of kind {kind_name(kind)}, such a base has only INT, FLOAT,"
                " ENUM, STRUCT, UNION and FWD",
                source=_label(base),
            )
        if not words[at]:
            raise BtfError(f"no distilled base: type {type_id} is anonymous", source=_label(base))
    return base


def _label(spec: Spec) -> str:
    return spec.name or "BTF"
