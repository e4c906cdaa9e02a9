"""Dictionaries that an object gets when they are first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """A class attribute that becomes a dictionary of the object's own, the same one for all threads.

    Args:
        make: makes the dictionary for an object; without it, it is an empty one.
    """

    def __init__(self, make: Callable[[Any], dict[K, V]] | None = None) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, of: Any, owner: type) -> dict[K, V]:
        found: dict[K, V] = of.__dict__.setdefault(self._name, {} if self._make is None else self._make(of))
        return found
