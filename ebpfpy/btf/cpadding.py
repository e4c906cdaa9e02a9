"""Unnamed members that keep the others in their places."""

from __future__ import annotations

_PADS = {64: "long", 32: "int", 16: "short", 8: "char"}
_MOST_PADS = 64


def padding(start: int, end: int, align: int, pointer_size: int, *, packed: bool) -> list[str]:
    """Unnamed bitfields that move the position from bit `start` to bit `end`.

    Args:
        start: bits.
        end: bits.
        align: bits of the struct's alignment: a larger type would raise it on some machines.
        pointer_size: bytes of a ``long``.
        packed: bitfields are not aligned.
    """
    unit = min(64 if packed else align, 8 * pointer_size)
    keyword = _PADS[unit]
    lines: list[str] = []
    position = start
    if end - start > _MOST_PADS * unit:
        position = -(-start // 8) * 8
        if position != start:
            lines.append(f"char: {position - start};")
        count = (end - position) // 8
        lines.append(f"char __padding_{position // 8}[{count}];")
        position += 8 * count
    while position < end:
        step = min(end - position, unit - position % unit)
        whole = not packed and position % unit and (position + step) % unit == 0
        lines.append(f"{keyword}: {0 if whole else step};")
        position += step
    return lines


def own_padding(text: str, owner: int | str) -> str:
    """The text of padding with other names, for what shares a scope with other padding."""
    return text.replace("char __padding_", f"char __padding_{owner}_")


def widening(start: int, end: int, align: int, pointer_size: int, *, packed: bool) -> list[str]:
    """A member that gives a union `end` bits; `start` is 0."""
    return ["struct {", *(f"\t{line}" for line in padding(start, end, align, pointer_size, packed=packed)), "};"]


def indented(lines: list[str]) -> list[str]:
    """Lines of members, each after a line feed and a tab."""
    return [f"\n\t{line}" for line in lines]
