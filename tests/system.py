"""`python tests/system.py`: the system packages that `make test` needs.

As root on Debian the missing ones are installed, and named; otherwise the command that installs them is printed.
Nothing else is touched. The library itself needs none of them.
"""

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "qemu-system-x86": "boots the test kernels",
    "busybox-static": "is the guest's first program",
    "kmod": "loads modules in the guest",
    "util-linux": "ends a guest when its test dies",
    "xz-utils": "unpacks modules",
    "zstd": "unpacks kernels from 6.12 on",
    "lz4": "unpacks kernels packed with lz4",
    "iproute2": "triggers network functions in the guest",
    "libbpf1": "is what the differential tests compare with",
    "bpftool": "is what the differential tests compare with",
    "dwarves": "writes the BTF of our kernel module",
    "binutils": "puts the BTF into our kernel module",
    "make": "builds our kernel module",
    "gcc-12": "compiles our kernel module",
    "clang-19": "compiles what the differential tests compare",
    "clang-14": "compiles the same, as an older compiler does",
    "llvm-19": "disassembles what the differential tests compare",
    "libbpf-dev": "has the headers of what they compile",
    "bc": "is used by the kernel's build",
    "flex": "is used by the kernel's build",
    "bison": "is used by the kernel's build",
    "libelf-dev": "is used by the kernel's build",
}


def installed(package: str) -> bool:
    """Whether dpkg knows the package as installed."""
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout == "installed"


def main() -> int:
    """Install or name what is missing; exit status 1 only if an installation fails in CI."""
    if shutil.which("dpkg-query") is None:
        print("system packages: this is no Debian; the tests need:")
        for package, purpose in PACKAGES.items():
            print(f"  {package}, which {purpose}")
        return 0
    missing = [package for package in PACKAGES if not installed(package)]
    if not missing:
        print(f"system packages: all {len(PACKAGES)} are installed")
        return 0
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    print("system packages missing:")
    for package in missing:
        print(f"  {package}, which {PACKAGES[package]}")
    if os.geteuid() != 0:
        print(f"install them as root: {' '.join(command)}")
        return 0
    print(f"running: {' '.join(command)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if not ran(["apt-get", "-q", "update"], environment):
        return int(os.environ.get("CI") == "true")
    unknown = [package for package in missing if not offered(package)]
    for package in unknown:  # not every release has every compiler: the tests that need it say so, and skip
        print(f"  {package} is not in this release")
    done = ran([word for word in command if word not in unknown], environment)
    return int(not done and os.environ.get("CI") == "true")


def offered(package: str) -> bool:
    """Whether apt knows the package."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def ran(command: list[str], environment: dict[str, str]) -> bool:
    """Run a command; whether it worked. What it says is shown if not."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command)} failed; is there a network?\n{done.stderr.strip()}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
