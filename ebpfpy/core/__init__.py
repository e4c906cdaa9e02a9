"""CO-RE: relocations and types in, fixups and reasons out."""

from ebpfpy.errors import AmbiguousRelocationError, RelocationError

from .compat import incompatible
from .fixup import Candidate, Fixup
from .patch import POISON_CALL, patch
from .relocation import Relocation, RelocationKind
from .relocator import Relocator, relocate
from .report import FunctionReport, Report, relocate_programs

__all__ = [
    "POISON_CALL",
    "AmbiguousRelocationError",
    "Candidate",
    "Fixup",
    "FunctionReport",
    "Relocation",
    "RelocationError",
    "RelocationKind",
    "Relocator",
    "Report",
    "incompatible",
    "patch",
    "relocate",
    "relocate_programs",
]
