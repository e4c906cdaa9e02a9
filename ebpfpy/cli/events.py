"""A ring buffer's record as a line: for people, or as JSON.

    events: pid=4711 comm="true" start={sec=17 nsec=250}
    {"map": "events", "type": "struct event", "event": {"pid": 4711, "comm": "true", ...}}

A record that is shorter than its type, or whose type is unknown, is shown as bytes: ``"event": null, "bytes": "0a0b"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy import btf
from ebpfpy.cli.output import printable
from ebpfpy.cli.typenames import type_name
from ebpfpy.errors import EbpfError

if TYPE_CHECKING:
    from collections.abc import Callable


class EventPrinter:
    """Makes lines of the records of one buffer.

    Args:
        map_name: of the buffer.
        kind: the type of its records, None for bytes.
        as_json: JSON instead of text.
    """

    def __init__(self, map_name: str, kind: btf.Type | None, *, as_json: bool) -> None:
        self.map_name = map_name
        self._kind = kind
        self._name = type_name(kind) or None
        self._size = btf.sizeof(kind) if kind is not None else 0
        self._line: Callable[[Any, bytes, str], str] = self._json if as_json else self._text

    def line(self, record: bytes) -> str:
        """One record as a line, without the line end."""
        if self._kind is None:
            return self._line(None, record, "")
        if len(record) < self._size:
            return self._line(None, record, f"{len(record)} bytes are too few for {self._name} ({self._size})")
        try:
            value = btf.decode(self._kind, record[: self._size])
        except EbpfError as error:
            return self._line(None, record, str(error))
        return self._line(value, record, "")

    def _text(self, value: Any, record: bytes, problem: str) -> str:
        if value is None:
            remark = f" ({problem})" if problem else ""
            return printable(f"{self.map_name}: {record.hex(' ', 4)}{remark}")
        fields = text_of(value)
        return printable(f"{self.map_name}: {fields[1:-1] if isinstance(value, dict) else fields}")

    def _json(self, value: Any, record: bytes, problem: str) -> str:
        import json

        line: dict[str, Any] = {"map": self.map_name, "type": self._name, "event": value}
        if value is None:
            line["bytes"] = record.hex()
        if problem:
            line["problem"] = problem
        return json.dumps(line, default=_plain)


def text_of(value: Any) -> str:
    """A decoded value in a compact form: ``{a=1 b="x"}``, ``[1 2]``."""
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={text_of(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(text_of, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return str(value)


def _plain(value: Any) -> Any:
    """What JSON has no form for: bytes become hexadecimal digits."""
    return bytes(value).hex() if isinstance(value, (bytes, bytearray, memoryview)) else str(value)
