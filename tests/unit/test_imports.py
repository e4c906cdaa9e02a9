"""What imports what: the floors, and what start-up costs."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "ebpfpy"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement, less those it has anyway."""
    ask = "import sys; before = set(sys.modules); {}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", ask.format(statement)], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


def test_floors_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    if not lint.exists():
        pytest.skip("import-linter is not installed beside this interpreter")
    done = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stdout


def test_import_of_the_package_loads_nothing_heavy():
    loaded = loaded_by("import ebpfpy")
    for heavy in ("elftools", "attr", "attrs", "cachetools", "asyncio", "argparse", "json", "ctypes", "mmap"):
        assert heavy not in loaded
    assert {name for name in loaded if name.startswith("ebpfpy")} == {"ebpfpy"}


def test_help_of_the_command_loads_no_command():
    loaded = loaded_by("from ebpfpy.cli.main import build_parser; build_parser(['--help'])")
    ours = {name for name in loaded if name.startswith("ebpfpy.")}
    assert ours == {"ebpfpy.cli", "ebpfpy.cli.main", "ebpfpy.errors"}
    assert not loaded & {"attr", "elftools", "asyncio", "json", "ctypes"}


def test_types_need_no_elf_library():
    assert not {name for name in loaded_by("import ebpfpy.btf, ebpfpy.core") if name.startswith("elftools")}


def test_nothing_that_explains_a_refusal_is_loaded_before_there_is_one():
    assert not {name for name in loaded_by("import ebpfpy.loader") if name.startswith("ebpfpy.features")}


def test_reading_is_synchronous_until_asked_otherwise():
    assert "asyncio" not in loaded_by("import ebpfpy.ringbuf, ebpfpy.loader, ebpfpy.link")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_first(module):
    assert module in loaded_by(f"import {module}")


def test_public_names_are_what_all_says():
    import ebpfpy

    for name in ebpfpy.__all__:
        assert getattr(ebpfpy, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = ebpfpy.nothing


@pytest.mark.parametrize("package", ["ebpfpy.btf", "ebpfpy.link", "ebpfpy.sys"])
def test_names_that_a_package_hands_on_lazily_are_there_whatever_was_imported_before(package):
    code = f"""
import importlib, pkgutil, types
package = importlib.import_module({package!r})
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module({package!r} + "." + module.name)
missing = [n for n in package.__all__ if isinstance(getattr(package, n, types), types.ModuleType)]
assert not missing, missing
"""
    subprocess.run([sys.executable, "-c", code], check=True)
