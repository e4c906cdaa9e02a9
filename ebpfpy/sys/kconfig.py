"""The running kernel's build configuration, and its version as BPF programs know it.

The configuration lies in /proc/config.gz (CONFIG_IKCONFIG_PROC) or /boot/config-RELEASE: lines such as
``CONFIG_HZ=250``, ``CONFIG_TUN=m``, ``CONFIG_DEFAULT_HOSTNAME="(none)"``; an option that is off is a comment or
missing.

The version of a distribution's kernel is not always what its release says: Debian's 6.12.117+deb12 names the real one
in uname's version ("Debian 6.12.117-1"), Ubuntu's in /proc/version_signature. BPF compares with what the kernel calls
LINUX_VERSION_CODE: major << 16 | minor << 8 | patch, the patch cut to 255.
"""

from __future__ import annotations

import os
import re
from typing import Final

from ebpfpy.errors import NotFoundError

_PATHS: Final = ("/proc/config.gz", "/boot/config-{release}", "/lib/modules/{release}/config")


def read_config() -> dict[str, str]:
    """The options of the running kernel that are set: name ("CONFIG_HZ") to the text behind the equals sign.

    Raises:
        NotFoundError: none of the usual places has the configuration.
    """
    release = os.uname().release
    for pattern in _PATHS:
        path = pattern.format(release=release)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if path.endswith(".gz"):
            import gzip

            data = gzip.decompress(data)
        return parse_config(data.decode("utf-8", "replace"))
    places = ", ".join(pattern.format(release=release) for pattern in _PATHS)
    raise NotFoundError(f"the running kernel's configuration is in none of {places}")


def parse_config(text: str) -> dict[str, str]:
    """The options in the text of a kernel configuration."""
    options = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            options[name] = value.strip()
    return options


def kernel_version_code() -> int:
    """The running kernel's LINUX_VERSION_CODE."""
    uname = os.uname()
    try:
        with open("/proc/version_signature", encoding="ascii", errors="replace") as file:
            signature = file.read()
    except OSError:
        signature = ""
    return version_code(uname.release, uname.version, signature)


def version_code(release: str, version: str = "", signature: str = "") -> int:
    """LINUX_VERSION_CODE from uname's release and version and Ubuntu's version signature; 0 where they hold none."""
    for text, pattern in (
        (signature, r"\S+ \S+ (\d+)\.(\d+)\.(\d+)"),
        (version, r"Debian (\d+)\.(\d+)\.(\d+)"),
        (release, r"(\d+)\.(\d+)(?:\.(\d+))?"),
    ):
        match = re.search(pattern, text)
        if match:
            major, minor, patch = (int(part or 0) for part in match.groups())
            return major << 16 | minor << 8 | min(patch, 255)
    return 0
