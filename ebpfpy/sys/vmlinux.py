"""The kernel's name for itself among its modules: of its BTF object, in sysfs, and before a function's name."""

from __future__ import annotations

VMLINUX = "vmlinux"
"""Stands where the name of a module would: "the kernel itself". No module can have it."""
