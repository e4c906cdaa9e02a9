"""The kernel's types that a command works with: those of named files, or the running kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.cli.output import note
from ebpfpy.cli.status import UsageError
from ebpfpy.errors import BtfError, NotFoundError

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
        help="kernel types: vmlinux first, then modules; raw BTF or an ELF file, also compressed"
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
        try:
            spec = btf.load_spec(path)
            # a module with a distilled base of its own (.BTF.base) is relocated onto the kernel that was named
            specs.append(_on(specs[0], path) if specs and spec.split else spec)
        except BtfError as error:
            if specs:
                specs.append(_on(specs[0], path))
                continue
            if _is_split(path):
                raise UsageError(f"{path} continues the types of a kernel: name that kernel's vmlinux first") from error
            raise
    return specs


def _on(base: btf.Spec, path: str) -> btf.Spec:
    """The split BTF in a file on a base that it has to fit: on another kernel's its numbers mean nothing."""
    spec = btf.load_spec(path, base=base)
    if btf.check_split(path, base).verdict == "does not fit":
        raise BtfError(
            f"does not fit the kernel that was named first ({base.name or 'BTF'});"
            f" `ebpfpy btf check {path} --base FILE` says why",
            source=path,
        )
    return spec


def _is_split(path: str) -> bool:
    """Whether a file that does not stand alone would be well-formed on some base."""
    empty = b"\x9f\xeb\x01\0\x18\0\0\0" + bytes(12) + b"\x01\0\0\0" + b"\0"
    try:
        btf.load_spec(path, base=btf.Spec(empty))
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
        except (BtfError, NotFoundError, PermissionError) as error:
            note(f"module {name} is left out: {error}")
    return specs


def types_of_file(path: str, base: str | None) -> btf.Spec:
    """The types in one file; a module's file in sysfs finds its base by itself."""
    if base is not None:
        return btf.load_spec(path, base=btf.load_spec(base))
    if path.startswith("/sys/kernel/btf/") and not path.endswith("/vmlinux"):
        return btf.load_spec(path, base=btf.load_kernel_spec())
    try:
        return btf.load_spec(path)
    except BtfError as error:
        if _is_split(path):
            raise UsageError(
                f"{path} continues the types of a kernel: name that kernel's vmlinux with --base"
            ) from error
        raise
