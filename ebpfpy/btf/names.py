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


def essential_name(name: str) -> str:
    """The name without its flavour: ``essential_name("foo___v2") == "foo"``."""
    if "___" not in name:
        return name
    return essential_bytes(encode_name(name)).decode("utf-8", "surrogatepass")


def encode_name(name: str) -> bytes:
    """The bytes of a name to look for; of one that is no text, bytes that nothing is called.

    Raises:
        InputError: it is no string.
    """
    if not isinstance(name, str):
        raise InputError(f"a name is a string, not {name!r}")
    try:
        return name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def essential_bytes(name: bytes) -> bytes:
    """`essential_name` for the undecoded name."""
    match = _FLAVOUR.match(name)
    return match.group(1) if match else name
