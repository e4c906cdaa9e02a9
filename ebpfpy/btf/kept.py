"""Dictionaries that an object gets when they are first asked for."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A class attribute that becomes a dictionary of the object's own, the same one for all threads."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, of: Any, owner: type) -> dict[K, V]:
        found: dict[K, V] = of.__dict__.setdefault(self._name, {})
        return found
