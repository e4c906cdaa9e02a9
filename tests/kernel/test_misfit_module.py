"""A module whose types do not fit the running kernel: what the kernel makes of it, and what `check_split` says.

Many distributions' kernels load such a module and drop its types, with one line in the log for all modules ever
(CONFIG_MODULE_ALLOW_BTF_MISMATCH); others, Debian's 7.2 for one, refuse the module. That is where the kernel notices:
it looks at kinds, ids and characters, and not at whether a name starts where a string does. So Debian's 6.1 drops the
types of our module as built for 6.12, and 6.12 takes those built for 6.1 and offers them, garbled, in /sys/kernel/btf.
"""

import subprocess
from array import array
from pathlib import Path

import pytest

from ebpfpy import btf, sys
from ebpfpy.btf.records import make_blob, own_strings, string_words
from ebpfpy.errors import BtfError, NotFoundError
from tests.kernel import features, modules

TESTDATA = Path(__file__).parents[2] / "testdata" / "btf"
IN_SYSFS = Path("/sys/kernel/btf", modules.DEMO)


@pytest.fixture(scope="module")
def vmlinux():
    return btf.load_kernel_spec()


@pytest.fixture(scope="module")
def right(vmlinux):
    """The types of our module as the running kernel has them."""
    features.require_modules()
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        return btf.Spec(IN_SYSFS.read_bytes(), vmlinux, name=modules.DEMO)


@pytest.fixture
def load_with(right, tmp_path):
    """Offer our module with other types in its file; unloaded afterwards, and its own loaded if it was before."""

    def load(blob):
        section, file = tmp_path / "BTF", tmp_path / f"{modules.DEMO}.ko"
        section.write_bytes(blob)
        copy = ["objcopy", "--remove-section", ".BTF.base", "--update-section", f".BTF={section}"]
        subprocess.run([*copy, modules.demo_file(), str(file)], check=True)
        done = subprocess.run(["insmod", str(file)], capture_output=True, text=True, check=False)
        if done.returncode:
            assert sys.read_config().get("CONFIG_MODULE_ALLOW_BTF_MISMATCH") != "y", done.stderr
            assert "Invalid" in done.stderr
        assert modules.is_loaded(modules.DEMO) == (not done.returncode)
        return file

    with modules.absent(modules.DEMO), modules.unloaded_afterwards(modules.DEMO):
        yield load


def of_other_kernels():
    """The types of our module as it was built for other kernels."""
    found = {path.parent.name: path for path in TESTDATA.glob(f"*/{modules.DEMO}.btf.xz")}
    return [path for release, path in sorted(found.items()) if release != features.RELEASE]


def one_byte_late(spec):
    """The types with every name of the module itself starting one byte too late, as on a base shorter by one byte."""
    words, _ = spec.locate(spec.first_id)
    words = array("I", words)
    _, first = own_strings(spec)
    for type_id in range(spec.first_id, spec.first_id + len(spec)):
        for index in string_words(words, spec.locate(type_id)[1]):
            if words[index] >= first and len(spec.string(words[index])) > 1:
                words[index] += 1
    return make_blob(words, own_strings(spec)[0], spec.byte_order)


def test_types_that_fit_are_taken_and_found_to_fit(right, load_with, vmlinux):
    file = load_with(bytes(right.raw))
    assert IN_SYSFS.read_bytes() == bytes(right.raw)
    assert btf.check_split(file, vmlinux).fits


@pytest.mark.parametrize("path", of_other_kernels(), ids=lambda path: path.parent.name)
def test_types_of_another_kernel_are_found_out_whether_the_kernel_drops_or_takes_them(path, load_with, vmlinux):
    blob = bytes(btf.load_spec(path, base=vmlinux).raw)
    file = load_with(blob)
    if not modules.is_loaded(modules.DEMO):
        assert not IN_SYSFS.exists()
    elif IN_SYSFS.exists():
        assert IN_SYSFS.read_bytes() == blob  # as if they were right
        with pytest.raises(BtfError, match="is not the start of a string"):
            list(btf.dump_raw(btf.load_kernel_module_spec(modules.DEMO, vmlinux)))
    else:
        with pytest.raises(NotFoundError, match="it is loaded, but has no BTF"):
            btf.load_kernel_module_spec(modules.DEMO, vmlinux)
    report = btf.check_split(file, vmlinux)
    assert report.verdict == "does not fit"
    assert report.bad_strings >= 20
    assert report.expected_strings == btf.load_spec(path.parent / "vmlinux.btf.xz").strings_end


def test_names_that_start_too_late_are_taken_by_the_kernel_and_found_by_the_check(right, load_with, vmlinux):
    blob = one_byte_late(right)
    names = {name.decode() for name, offset in right.each_string() if offset >= right.base.strings_end}
    file = load_with(blob)
    if modules.is_loaded(modules.DEMO):
        assert IN_SYSFS.read_bytes() == blob  # the kernel has noticed nothing: it offers garbled names
    for module in (file, IN_SYSFS) if IN_SYSFS.exists() else (file,):
        report = btf.check_split(module, vmlinux)
        assert report.verdict == "does not fit"
        assert report.bad_strings >= 20
        examples = [example for example in report.examples if "is not the start of a string" in example]
        assert len(examples) >= 5
        assert all(any(f"it reads '{name[1:]}'" in example for name in names) for example in examples)
        assert (report.bad_ids, report.bad_kinds, report.bad_layouts) == (0, 0, 0)
    garbled = btf.load_spec(file, base=vmlinux)
    with pytest.raises(BtfError, match="is not the start of a string"):
        list(btf.dump_raw(garbled))
