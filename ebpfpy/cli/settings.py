"""``--set NAME=VALUE``: an object's variables, before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy.cli.status import UsageError
from ebpfpy.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from ebpfpy.elf import CollectionSpec

_WORDS = {"true": 1, "false": 0}


def add_set_option(parser: argparse.ArgumentParser) -> None:
    """Declare the argument."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="a variable's value before loading: a number, true, false, a text, or numbers with commas (repeatable)",
    )


def apply_settings(spec: CollectionSpec, settings: Iterable[str]) -> None:
    """Set variables of a blueprint.

    Raises:
        UsageError: a setting that is none, a variable that is not there, a value that does not fit.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write NAME=VALUE")
        variable = spec.variables.get(name)
        if variable is None:
            known = ", ".join(sorted(spec.variables)) or "none"
            raise UsageError(f"--set {setting}: no such variable; the object has {known}")
        try:
            variable.set(_value(text, variable.get()))
        except InputError as error:
            raise UsageError(f"--set {setting}: {error}") from None


def _value(text: str, now: Any) -> Any:
    """The value that a text means, given the one that is there."""
    if isinstance(now, list):
        values = [_value(part.strip(), 0) for part in text.split(",")]
        return values + [0] * (len(now) - len(values))
    if isinstance(now, str):
        return text
    try:
        return int(text, 0)
    except ValueError:
        return _WORDS.get(text, text)
