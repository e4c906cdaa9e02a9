"""The answer to a question."""

from __future__ import annotations

from typing import NamedTuple

from ebpfpy.errors import UnsupportedError


class Support(NamedTuple):
    """The kernel's answer: true if it has the feature.

    Attributes:
        feature: its name, in words.
        supported: whether this kernel has it.
        minimum: the first kernel that had it ("5.8"), where it is configured; None if nobody noted it.
    """

    feature: str
    supported: bool
    minimum: str | None = None

    def __bool__(self) -> bool:
        return self.supported

    def __str__(self) -> str:
        first = f" (Linux {self.minimum})" if self.minimum else ""
        return f"{self.feature}{first}: {'yes' if self.supported else 'no'}"

    def require(self) -> None:
        """Return if the kernel has it.

        Raises:
            UnsupportedError: it does not; with the feature's name and the first kernel.
        """
        if not self.supported:
            first = f": Linux {self.minimum} and newer have it, if configured" if self.minimum else ""
            raise UnsupportedError(
                f"this kernel does not have {self.feature}{first}", feature=self.feature, minimum=self.minimum
            )
