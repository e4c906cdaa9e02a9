"""Attaching programs."""

from .auto import attach
from .link import Link
from .tracing import attach_raw_tracepoint, attach_tracing

__all__ = ["Link", "attach", "attach_raw_tracepoint", "attach_tracing"]
