"""How to load: options for programs, maps and whole collections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ebpfpy import btf
    from ebpfpy.sys import HasFileno


@attrs.frozen
class ProgramOptions:
    """Options for loading programs.

    Attributes:
        kernel_types: the types that CO-RE relocates against, vmlinux first, then modules split on it: for kernels
            that have no BTF of their own. None: the running kernel's and its modules'. Attach targets always come
            from the running kernel.
        log_level: 0 asks for the verifier's log only after a refusal; 1, 2 and 4 always, as the kernel defines them.
        log_size: bytes of log at first, where the log is asked for always; it grows until the log fits. After a
            refusal there is room for 16 MiB at once, of which only what is written costs anything.
    """

    kernel_types: Sequence[btf.Spec] | None = None
    log_level: int = 0
    log_size: int = 1 << 16


@attrs.frozen
class MapOptions:
    """Options for creating maps.

    Attributes:
        pin_path: directory on a bpf file system for maps that ask to be pinned by name; None: such maps are not pinned.
    """

    pin_path: str | os.PathLike[str] | None = None


@attrs.frozen
class CollectionOptions:
    """Options for loading a collection.

    Attributes:
        programs: options for its programs.
        maps: options for its maps.
        cache: the running kernel's types, and the blueprints of objects that `load_collection` has read, shared between
            loads; None: a cache of its own for each load.
        token: a BPF token that stands in for capabilities, or the bpf file system to make one from: its path, or None
            for no token (Linux 6.9; see `ebpfpy.sys.token_create`).
    """

    programs: ProgramOptions = ProgramOptions()
    maps: MapOptions = MapOptions()
    cache: btf.Cache | None = None
    token: str | os.PathLike[str] | HasFileno | None = None
