"""The kernel's types that a command works with: those of named files, or the running kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.btf.loadedmodules import SYSFS
from ebpfpy.btf.source import Found, find_btf
from ebpfpy.cli.output import note
from ebpfpy.cli.status import UsageError
from ebpfpy.errors import BtfError, EbpfError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def add_btf_option(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Declare ``--btf``; `otherwise` says what happens without it."""
    parser.add_argument(
        "--btf",
        action="append",
        default=[],
        metavar="FILE",
        help="kernel types: vmlinux (or vmlinuz) first, then modules; raw BTF or an ELF file, also compressed"
        f" (repeatable; default: {otherwise})",
    )


def kernel_types(files: Sequence[str]) -> list[btf.Spec]:
    """The types in files, vmlinux first, or the running kernel's and its modules' without files.

    A file behind the first is split BTF on the first, unless it stands alone.
    """
    return types_of_files(files) if files else types_of_running_kernel()


def types_of_files(files: Sequence[str]) -> list[btf.Spec]:
    """The types in files, of which the first is the base of all that do not stand alone."""
    specs: list[btf.Spec] = []
    for path in files:
        specs.append(types_of_next_file(path, specs[0] if specs else None))
    return specs


def types_of_next_file(path: str, kernel: btf.Spec | None) -> btf.Spec:
    """The types in a file, read once: of a kernel, or split BTF that fits the kernel that was named before.

    Raises:
        BtfError: it is split BTF of another kernel: on this one its numbers mean nothing.
        UsageError: it is split BTF, and no kernel was named before.
        EbpfError, OSError: it cannot be read.
    """
    return types_of_found(find_btf(path), path, kernel)


def types_of_found(found: Found, path: str, kernel: btf.Spec | None) -> btf.Spec:
    """`types_of_next_file` for what was found in it.

    Raises:
        BtfError, UsageError: as there.
    """
    if kernel is None:
        return _alone(found, path, "name that kernel's vmlinux first")
    if found.distilled is None:
        try:
            return found.spec()
        except BtfError:
            pass  # it does not stand alone
    # a module with a distilled base of its own (.BTF.base) is relocated onto the kernel that was named
    spec = found.spec(kernel)
    if btf.check_split(spec, kernel).verdict == "does not fit":
        raise BtfError(
            f"does not fit the kernel that was named first ({kernel.name or 'BTF'});"
            f" `ebpfpy btf check {path} --base FILE` says why",
            source=path,
        )
    return spec


def _alone(found: Found, path: str, advice: str) -> btf.Spec:
    """The types of a file that has to stand alone."""
    try:
        return found.spec()
    except BtfError as error:
        if _is_split(found):
            raise UsageError(f"{path} continues the types of a kernel: {advice}") from error
        raise


def _is_split(found: Found) -> bool:
    """Whether BTF that does not stand alone would be well-formed on some base."""
    empty = b"\x9f\xeb\x01\0\x18\0\0\0" + bytes(12) + b"\x01\0\0\0" + b"\0"
    try:
        found.spec(btf.Spec(empty))
    except BtfError:
        return False
    return True


def types_of_running_kernel() -> list[btf.Spec]:
    """The kernel itself and every loaded module; a module whose types cannot be read is left out with a note."""
    kernel = btf.load_kernel_spec()
    specs = [kernel]
    for name in btf.kernel_module_names():
        try:
            specs.append(btf.load_kernel_module_spec(name, kernel))
        except EbpfError as error:  # it has just gone, or is malformed, or may not be read
            note(f"module {name} is left out: {error}")
    return specs


def types_of_file(path: str, base: str | None, option: str = "--base") -> btf.Spec:
    """The types in one file; a module's file in sysfs finds its base by itself.

    Args:
        path: the file.
        base: what it continues, if it was said.
        option: what says so.
    """
    found = find_btf(path)
    if base is not None:
        kernel = btf.load_spec(base)
        spec = found.spec(kernel)
        if btf.check_split(spec, kernel).verdict == "does not fit":
            note(f"{path} does not fit {base}: names and types are wrong; `ebpfpy btf check` says why")
        return spec
    if path.startswith(f"{SYSFS}/") and path != f"{SYSFS}/vmlinux":
        return found.spec(btf.load_kernel_spec())
    return _alone(found, path, f"name that kernel's vmlinux with {option}")
