"""Error numbers by which the kernel says that it does not know, or cannot do, what it was asked for."""

from __future__ import annotations

import errno
from typing import Final

ENOTSUPP: Final = 524
"""The kernel's own number for that, which no C library knows."""

UNKNOWN: Final = frozenset((errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP, ENOTSUPP))
"""What a kernel answers that is too old for a command, a type or an attribute; some of them mean other things, too."""
