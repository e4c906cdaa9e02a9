"""Split BTF on a distilled base -> split BTF on a kernel.

A module built outside the kernel's tree carries, in ``.BTF.base``, the names and sizes of the kernel types that it uses
(see `distill`), and its own types number from there. To be used, every one of those types must be found in the running
kernel; then the ids and string offsets of the module's types are rewritten. Worked example: a module's base is ::

    [1] INT 'int' size=4      [2] STRUCT 'file' size=184      [3] STRUCT 'mutex' size=32

and its own ``[4] PTR type_id=2``, ``[5] STRUCT 'mine' size=40 { lock: 3, f: 4 }``. On a kernel of 112,768 types that
has int as 21, struct file (192 bytes there) as 731 and struct mutex (32 bytes) as 240, the module's types become
``[112769] PTR type_id=731`` and ``[112770] STRUCT 'mine' { lock: 240, f: 112769 }``. That file has grown does not
matter: the module only points at it. Had mutex grown, nothing of `mine` would be right, so that is a misfit.

A size matters where a type is *embedded*: it is a member of a struct or union of the split, directly or through
arrays, typedefs, qualifiers and type tags, not through a pointer.

Two questions, two modes:

* *Is it right?* (the default). Kinds must agree, one definition must be meant, sizes must agree where they matter (also
  in variables, and in parameters and results passed by value).
* ``strict="kernel"``: *would this kernel take it?* The kernel and libbpf share one piece of code for this, which looks
  at less and stumbles over more. The differences that matter:

  - a struct or union is matched by name alone; a union, an int, an enum64 of that name serve as well. Only where
    several structs or unions of the base share the name must the size agree, embedded or not;
  - a second match is an error, even a forward declaration beside its definition;
  - whether a forward declaration is one of a union is read from the definition's flag, which there says "has
    bitfields";
  - it moves offsets and copies nothing: a string of the split that lies in the distilled base must be a type's name.

  One mistake is not followed: libbpf before 1.6, and kernels of that time, overlook what the last types of a split
  embed (fixed in "libbpf: Fix incorrect traversal end type ID when marking BTF_IS_EMBEDDED").

Source: Linux kernel commit 19e00c897d50 ("libbpf: Split BTF relocation", behaviour); the tests compare with libbpf.
"""

from __future__ import annotations

from array import array

from ebpfpy.errors import BaseMismatchError, BtfError

from .baseproblem import BaseProblem, text_of
from .matchbase import match_base
from .records import id_words, make_blob, own_strings, record_end, string_words
from .spec import Spec


def relocate_base(split: Spec, new_base: Spec, *, strict: str | None = None) -> Spec:
    """Move split BTF from its distilled base to the types of a kernel.

    The own types keep their order; their ids follow the new base's. Their strings are kept.

    Args:
        split: split BTF on a distilled base: ``load_spec("module.ko")`` of a module with a section ``.BTF.base``,
            what `distill_base` returned, or ``load_split_spec("X.btf", load_spec("X.base.btf"))``. It is not changed.
        new_base: the types of a kernel, usually `load_kernel_spec`'s.
        strict: None to ask whether the result is right; "kernel" to get exactly what the kernel (6.12 and later) and
            libbpf would make of it, errors included.

    Returns:
        The split on `new_base`.

    Raises:
        BaseMismatchError: types of the distilled base have no match; it lists every one, with the reason.
        InputError: `split` has no base, or rests on `new_base` already; or the mode is unknown.
        BtfError: its base is no distilled base, or a record is malformed.
    """
    match = match_base(split, new_base, strict=strict)
    assert split.base is not None
    problems = list(match.problems)
    strings = _StringMap(split, split.base, new_base, match.ids, strict)
    words = array("I")
    shift = new_base.first_id + len(new_base) - split.first_id
    last = split.first_id + len(split) - 1
    for type_id in range(split.first_id, last + 1):
        where, at, end = record_end(split, type_id)
        record = array("I", where[at:end].tolist())
        for index in id_words(record, 0):
            old = record[index]
            if old > last:
                raise BtfError(f"type {type_id} refers to type {old}, which does not exist", source=_label(split))
            record[index] = old + shift if old >= split.first_id else match.ids.get(old, 0)
        for index in string_words(record, 0):
            record[index] = strings.moved(record[index])
        words.extend(record)
    problems += (BaseProblem(0, "string", text, None, "string") for text in strings.lost)
    if problems:
        raise BaseMismatchError(
            _summary(problems, split, new_base, strict), problems=tuple(problems), source=split.name or None
        )
    return Spec(make_blob(words, strings.own(), split.byte_order), new_base, name=split.name)


class _StringMap:
    """String offsets of a split on its distilled base -> on the new base.

    The split's own strings stay as they are, behind those of the new base. A string of the distilled base is the name
    of a type that was found, so the new base has it. If not (somebody else made that base), it joins the own strings;
    the kernel gives up there.
    """

    def __init__(self, split: Spec, distilled: Spec, new_base: Spec, ids: dict[int, int], strict: str | None) -> None:
        self._split = split
        self._own_from = distilled.strings_end
        self._shift = new_base.strings_end - distilled.strings_end
        self._strings = bytearray(own_strings(split)[0])
        self._strict = strict
        self._moved = {0: 0}
        self.lost: list[str] = []
        for old, new in ids.items():
            words, at = distilled.locate(old)
            there, start = new_base.locate(new)
            self._moved[words[at]] = there[start]
        self._new_end = new_base.strings_end

    def moved(self, offset: int) -> int:
        if offset >= self._own_from:
            if self._strict is None or offset >= self._split.strings_end:
                self._split.string_bytes(offset)  # out of range, or not the start of a string, which the kernel takes
            return offset + self._shift
        new = self._moved.get(offset)
        if new is None:
            text = self._split.string_bytes(offset)
            if self._strict is not None:
                self.lost.append(text_of(text))
            new = self._moved[offset] = self._new_end + len(self._strings)
            self._strings += text + b"\0"
        return new

    def own(self) -> bytes:
        return bytes(self._strings)


def _summary(problems: list[BaseProblem], split: Spec, new_base: Spec, strict: str | None) -> str:
    assert split.base is not None
    first = "; ".join(map(str, problems[:3]))
    more = f"; {len(problems) - 3} more in .problems" if len(problems) > 3 else ""
    judge = "the kernel would refuse it on" if strict == "kernel" else "its distilled base does not fit"
    return f"{judge} {_label(new_base)}: {len(problems)} of {len(split.base)} types: {first}{more}"


def _label(spec: Spec) -> str:
    return spec.name or "BTF"
