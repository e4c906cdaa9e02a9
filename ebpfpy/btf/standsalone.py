"""Is it split BTF at all? A kernel's whole BTF, given where a module's is wanted, reads without complaint.

Read as a split, such a blob's numbers all lead into the base: its type 5 refers to the base's type 3, its names are
strings of the base, or parts of them. What gives it away, and is never so for a module:

* It makes sense alone. Its strings start with an empty one, every name of its types starts where one of *its* strings
  does, and every id is one of *its* types.
* It makes none as a split. Either a name does not start where a string of base or split does, or no name at all is
  one of the split's own strings, although it has some.

Writers of splits (pahole, libbpf, ebpfpy) write no empty string, as the base has one; of the 12,469 modules in
Debian's packages of 6.1, 6.12 and 7.2 none starts with one. So for those the question costs a look at one byte. A
module that did start so would still use its own strings, whose numbers begin where those of the base end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, EbpfError, InputError

from .records import id_words, own_strings, record_end, string_words

if TYPE_CHECKING:
    from .spec import Spec

_LOOKED_AT = 1000
"""Types: of a kernel's, they have some thousand names."""


def stands_alone(split: Spec) -> bool:
    """Whether what was read as a split is in truth BTF that stands alone, such as a kernel's."""
    start = split._strings_at
    if split._data[start : start + 1] != b"\0" or split.base is None:
        return False
    strings, first = own_strings(split)
    names: set[int] = set()
    for type_id in range(split.first_id, split.first_id + _LOOKED_AT):
        try:
            words, at, end = record_end(split, type_id)
        except EbpfError:  # the last type was before, or something is malformed, which is for others to say
            break
        record = words[at:end]
        if any(record[index] > len(split) for index in id_words(record, 0)):
            return False
        names.update(record[index] for index in string_words(record, 0))
    names.discard(0)
    if not names or any(offset >= len(strings) or strings[offset - 1] for offset in names):
        return False
    return all(offset < first for offset in names) or not all(_starts(split, offset) for offset in names)


def refuse_alone(split: Spec) -> None:
    """Refuse what was read as a split and is none.

    Raises:
        InputError: it stands alone.
    """
    if stands_alone(split):
        raise InputError(
            f"{split.name or 'BTF'} stands alone: it is no split BTF, as a module's is, but a kernel's or an object's;"
            " read it without a base"
        )


def _starts(split: Spec, offset: int) -> bool:
    try:
        split.string_bytes(offset)
    except BtfError:
        return False
    return True
