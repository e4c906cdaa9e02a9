"""Bytes -> Python values by BTF, and back.

A map's values and a ring buffer's records are C structs whose layout BTF describes. `decode` turns them into plain
Python: a struct into a dict, an array into a list, ``char comm[16]`` into a str, an enum into the name of its value.

A type is compiled once (`ebpfpy.btf.valuecompiler`), into a `Codec`, which its `Spec` keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ebpfpy.errors import InputError

from .typebase import check_type
from .valuecompiler import Compiler

if TYPE_CHECKING:
    from . import types as t
    from .codec import Codec


def decode(of: t.Type, buffer: Any, *, text: bool = True) -> Any:
    """The Python value of bytes that hold a `of`.

    ========================  ==================================================================================
    struct, data section      dict; members of anonymous members are in the same dict
    union                     dict of all members, each a view of the same bytes
    array                     list; of ``char``: str up to the first NUL (as UTF-8, other bytes as backslash escapes)
    enum                      the enumerator's name (the first, if several have the value), or the int if none has it
    bool, float               bool, float; of 10, 12 or 16 bytes (``long double``), which Python has not: bytes
    integer, pointer          int
    ========================  ==================================================================================

    A flexible array (``T last[]``) takes what is left of the buffer, unless something follows it.

    Args:
        of: the type. Byte order and pointer size are those of its `Spec`, or this machine's for a type built by hand.
        buffer: bytes-like; longer than the type is fine (ring buffer records are padded).
        text: False leaves arrays of ``char`` as bytes, NULs and all.

    Raises:
        InputError: the buffer is too short, or the type has no values (void, functions, forward declarations), contains
            itself, is nested more than 64 deep, or needs out of all proportion more values than it has bytes.
    """
    try:
        codec = of._spec.derived[_CACHE[text]][of]  # type: ignore[union-attr]
    except (KeyError, AttributeError, TypeError):
        codec = _codec(of, text)
    if type(buffer) is not bytes:
        buffer = bytes_view(buffer)
    if len(buffer) < codec.size:
        size = codec.size
        raise InputError(f"{of!r} has {size} bytes, {size - len(buffer)} are missing", offset=len(buffer))
    return codec.read(buffer, 0)


def encode(of: t.Type, value: Any) -> bytes:
    """The bytes of a `of` that holds `value`: `decode` the other way.

    Arrays of ``char`` that hold no UTF-8 come back as they were only if they were decoded with ``text=False``: in text,
    bytes that are no characters are spelled out.

    Members that a dict leaves out are zero. Of a union give one member; of several the last one of the dict wins where
    they overlap. Enums take a name or an int, arrays of ``char`` a str (as UTF-8, filled up with NUL) or bytes, other
    arrays a sequence of at most as many elements as they have. A flexible array member makes the result longer.

    Args:
        of: the type, as in `decode`.
        value: what `decode` would return.

    Raises:
        InputError: the value does not fit; the message says which member. Or as `decode`.
    """
    codec = _codec(of, True)
    if codec.size > MOST_BYTES:
        raise InputError(f"{of!r} has {codec.size} bytes: more than {MOST_BYTES} are not written at once")
    out = bytearray(codec.size)
    codec.write(value, out, 0)
    return bytes(out)


MOST_BYTES = 1 << 28
"""The largest type that `encode` writes."""


class _Text:
    """Key of `Spec.derived`: codecs that read char arrays as str."""


class _Raw:
    """Key of `Spec.derived`: codecs that read char arrays as bytes."""


_CACHE: dict[bool, type] = {True: _Text, False: _Raw}
_by_hand: dict[bool, WeakKeyDictionary[t.Type, Codec]] = {
    True: WeakKeyDictionary(),
    False: WeakKeyDictionary(),
}


def _codec(of: t.Type, text: bool) -> Codec:
    check_type(of)
    if text not in (True, False):
        raise InputError(f"text is True or False, not {text!r}")
    spec = of._spec
    cache: Any = spec.derived.setdefault(_CACHE[text], {}) if spec is not None else _by_hand[text]
    found: Codec | None = cache.get(of)
    if found is None:
        found = cache[of] = Compiler(spec, text).compile(of, last=True)
    return found


def bytes_view(buffer: Any) -> Any:
    """A buffer as one that has a byte for each index.

    Raises:
        InputError: it is none, or not contiguous.
    """
    try:
        view = memoryview(buffer)
        return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")
    except (TypeError, ValueError):
        raise InputError(f"{type(buffer).__name__} object is not a contiguous buffer of bytes") from None
