"""Names of types, as CO-RE sees them.

A *flavour* is a suffix ``___text`` that lets one program describe several versions of a type:
``task_struct___old`` and ``task_struct___new`` both mean the kernel's ``task_struct``. What is left
without it is the *essential name*. The cut is at the last place of the shape ``X___Y`` where neither X nor Y
is an underscore: ``a___b___c`` becomes ``a___b``, ``foo___bar___`` becomes ``foo``, while ``___foo``, ``foo___`` and
``foo____bar`` keep their names.

Source: libbpf, ``bpf_core_essential_name_len`` (behaviour).
"""

from __future__ import annotations

import re

from ebpfpy.errors import InputError

# Greedy: the last X___Y wins. Three underscores exactly at the cut: neither neighbour is one.
_FLAVOUR = re.compile(rb"(.*[^_])___(?=[^_])", re.DOTALL)


class RawName(str):
    r"""A name that is no UTF-8, as text that shows it: the byte 255 as the four characters ``\xff``.

    It is equal to a name of the same bytes only, not to text that looks like it, and it is looked for by its bytes.

    Attributes:
        raw: its bytes.
    """

    __slots__ = ("raw",)

    raw: bytes

    def __new__(cls, raw: bytes) -> RawName:
        """The name that has these bytes.

        Raises:
            InputError: these are no bytes.
        """
        check_bytes(raw)
        made = super().__new__(cls, raw.decode("utf-8", "backslashreplace"))
        made.raw = raw
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawName) and self.raw == other.raw

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.raw)

    def __reduce__(self) -> tuple[type[RawName], tuple[bytes]]:
        return RawName, (self.raw,)


def decode_name(name: bytes) -> str:
    """The text of a name; a `RawName` of what is no UTF-8."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return RawName(name)


def essential_name(name: str) -> str:
    """The name without its flavour: ``essential_name("foo___v2") == "foo"``.

    Raises:
        InputError: it is no string.
    """
    raw = encode_name(name)
    essential = essential_bytes(raw)
    if len(essential) == len(raw):
        return name
    try:
        return essential.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return RawName(essential)


def encode_name(name: str) -> bytes:
    """The bytes of a name to look for; of one that has lone surrogates, bytes that nothing is called.

    Raises:
        InputError: it is no string.
    """
    if not isinstance(name, str):
        raise InputError(f"a name is a string, not {name!r}")
    if name.__class__ is RawName:
        return name.raw
    try:
        return name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def check_bytes(name: object) -> None:
    """Refuse what is no undecoded name.

    Raises:
        InputError: it is none.
    """
    if not isinstance(name, bytes):
        raise InputError(f"a name is bytes here, undecoded, not {name!r:.200}")


def essential_bytes(name: bytes) -> bytes:
    """`essential_name` for the undecoded name."""
    match = _FLAVOUR.match(name)
    return match.group(1) if match else name
