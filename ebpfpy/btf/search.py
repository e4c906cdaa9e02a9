r"""Types whose names match a shell pattern, in one spec after the other: a kernel and its thousands of modules.

To decode every name and compare it would take a second for a kernel alone. But names lie together in the string
section, between NULs, so a pattern becomes a regular expression over its bytes: ``tun*_s?t`` is in principle
``\0tun[^\0]*_s[^\0]t(?=\0)``, and the matches are offsets. A type matches if its first word is one of them.

The names of a module's types may lie in the strings of its base, where a word that the kernel knows, too, is kept once.
The base's offsets are found once for all modules. A module none of whose words is among the offsets has no such type,
and that question takes microseconds; only the others are walked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ebpfpy.errors import InputError

from .kinds import KIND_MASK, KIND_SHIFT
from .names import encode_name, essential_bytes
from .records import own_strings

if TYPE_CHECKING:
    from collections.abc import Collection

    from .spec import Spec

_ONE = rb"[^\0\x80-\xbf][\x80-\xbf]*"
"""One character, in UTF-8."""


def is_pattern(text: str) -> bool:
    """Whether a text has characters that mean something in a shell pattern."""
    return any(character in text for character in "*?[")


def check_pattern(text: str) -> None:
    """Refuse what can match nothing, or has a bracket that a shell would take for a character.

    Raises:
        InputError: it is empty, or a bracket has no end.
    """
    if not text:
        raise InputError("an empty pattern matches nothing: types without a name cannot be found by it")
    at = text.find("[")
    while at >= 0:
        end = _bracket_end(text, at + 1)
        if end < 0:
            raise InputError(f"{text!r}: the bracket at {text[at:]!r} has no end; [[] stands for the character")
        at = text.find("[", end)


def _bracket_end(pattern: str, inside: int) -> int:
    """Where the bracket ends whose contents begin at an index; -1 if it does not."""
    return pattern.find("]", inside + 1 + pattern.startswith("!", inside))


class NameSearch:
    """A search for names, prepared once.

    Args:
        pattern: a shell pattern with ``*``, ``?``, ``[a-z]`` and ``[!a-z]``; without any of them, a name, of
            which flavours count for nothing: ``task_struct`` also finds ``task_struct___old``.

    Raises:
        InputError: a bracket holds characters that are not ASCII.
    """

    def __init__(self, pattern: str) -> None:
        self._essential: bytes | None = None
        if is_pattern(pattern):
            body = _translate(pattern)
        else:
            self._essential = essential_bytes(encode_name(pattern))
            body = re.escape(self._essential) + rb"(?:___[^\0]*)?"
        # the NUL in front is one that matching may begin with: searching for a byte is quick
        self._expression = re.compile(rb"\0(" + body + rb")(?=\0)", re.DOTALL)
        self._of_bases: dict[Spec, frozenset[int]] = {}

    def ids(self, spec: Spec, kinds: Collection[int] | None = None) -> list[int]:
        """The ids of all own types of a spec that match, ascending.

        Args:
            spec: where to search.
            kinds: only types of these kinds; None for all.

        Raises:
            BtfError: a record is malformed.
        """
        count = len(spec)
        if not count:
            return []
        offsets = self._offsets(spec)
        words, _ = spec.locate(spec.first_id)
        if offsets.isdisjoint(words):
            return []
        found = []
        for type_id in range(spec.first_id, spec.first_id + count):
            _, at = spec.locate(type_id)
            if words[at] in offsets and (kinds is None or words[at + 1] >> KIND_SHIFT & KIND_MASK in kinds):
                found.append(type_id)
        return found

    def _offsets(self, spec: Spec) -> frozenset[int]:
        """Where in the strings of a spec and of its base a name that matches starts."""
        strings, first = own_strings(spec)
        own = (
            first + match.start()
            for match in self._expression.finditer(b"\0" + strings)
            if match.group(1) and self._fits(match.group(1))
        )
        if spec.base is None:
            return frozenset(own)
        if spec.base not in self._of_bases:
            self._of_bases[spec.base] = self._offsets(spec.base)
        return self._of_bases[spec.base].union(own)

    def _fits(self, name: bytes) -> bool:
        """Whether a name is the one that was asked for, or a flavour of it; all that match a pattern fit."""
        return self._essential is None or essential_bytes(name) == self._essential


def _translate(pattern: str) -> bytes:
    """A shell pattern as a regular expression without NULs; time grows with the length of a name, no faster."""
    parts: list[bytes] = [b""]  # what stands between stars
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(b"")
        elif character == "?":
            parts[-1] += _ONE
        elif character == "[":
            end = _bracket_end(pattern, at)
            if end < 0:
                parts[-1] += rb"\["
            else:
                parts[-1] += _bracket(pattern[at:end])
                at = end + 1
        else:
            parts[-1] += re.escape(encode_name(character))
    first, *middle = parts
    if not middle:
        return first
    *middle, last = middle
    # each piece is taken where it first comes, for good: no other choice would find more
    return first + b"".join(rb"(?>[^\0]*?" + part + b")" for part in middle if part) + rb"[^\0]*" + last


def _bracket(inside: str) -> bytes:
    if not inside.isascii():
        raise InputError(f"[{inside}]: only ASCII characters can stand in brackets")
    negated = inside.startswith("!")
    ranges = []
    for low, high in re.findall(r"(.)(?:-(.))?", inside[negated:], re.DOTALL):
        if not high or low <= high:
            ranges.append(re.escape(low.encode()) + (b"-" + re.escape(high.encode()) if high else b""))
    joined = b"".join(ranges)
    if negated:
        return rb"(?!\0)(?:[^\x80-\xff" + joined + rb"]|[\xc0-\xff][\x80-\xbf]*)"
    return b"[" + joined + b"]" if joined else b"(?!)"
