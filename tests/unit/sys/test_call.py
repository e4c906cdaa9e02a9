import os
import pickle
import subprocess
import sys as python
from types import SimpleNamespace

import pytest

from ebpfpy import sys
from ebpfpy.errors import InputError, UnsupportedError
from ebpfpy.sys import call, layout
from ebpfpy.sys.enums import map_type, program_type


@pytest.fixture
def fresh_entry():
    call._entry.cache_clear()
    yield
    call._entry.cache_clear()


def test_an_unknown_machine_is_an_error_at_the_call_that_names_it(monkeypatch, fresh_entry):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="m68k"))
    with pytest.raises(UnsupportedError, match="machine m68k"):
        sys.bpf(sys.Command.MAP_CREATE, layout.MapCreate())


def test_another_operating_system_is_an_error_at_the_call(monkeypatch, fresh_entry):
    monkeypatch.setattr(python, "platform", "darwin")
    with pytest.raises(UnsupportedError, match="on Linux only, not on darwin"):
        sys.bpf(sys.Command.MAP_CREATE, layout.MapCreate())


def test_importing_costs_neither_attrs_nor_asyncio_nor_pathlib():
    code = "import sys, ebpfpy.sys; print(*sorted({'attr', 'asyncio', 'pathlib', 'dataclasses'} & set(sys.modules)))"
    clean = subprocess.run(
        [python.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert clean.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("events", b"events"),
        ("a-b c", b"a_b_c"),
        ("x" * 20, b"x" * 15),
        (".rodata", b".rodata"),
        ("Größe", b"Gr__e"),
    ],
)
def test_names_become_what_the_kernel_accepts(name, kept):
    assert sys.object_name(name) == kept


def test_a_size_that_does_not_fit_is_an_error_before_the_call():
    with pytest.raises(InputError, match="map m: max_entries 4294967296 does not fit"):
        sys.map_create(type=1, key_size=4, value_size=4, max_entries=1 << 32, name="m")


def test_code_that_ends_in_the_middle_of_an_instruction_is_an_error_before_the_call():
    with pytest.raises(InputError, match="program p: 9 bytes"):
        sys.prog_load(type=1, insns=bytes(9), name="p")


def test_two_attach_targets_are_an_error_before_the_call():
    with pytest.raises(InputError, match="not to both"):
        sys.prog_load(type=1, insns=bytes(8), attach_prog_fd=5, attach_btf_obj_fd=6)


@pytest.mark.parametrize(
    "options",
    [
        sys.KprobeMultiOptions(),
        sys.KprobeMultiOptions(symbols=["a"], addresses=[1]),
        sys.KprobeMultiOptions(symbols=["a"], cookies=[1, 2]),
        sys.UprobeMultiOptions("/bin/true", [1, 2], cookies=[1]),
    ],
)
def test_link_options_that_contradict_each_other_are_an_error_before_the_call(options):
    with pytest.raises(InputError):
        sys.link_create(1 << 30, attach_type=sys.AttachType.TRACE_KPROBE_MULTI, options=options)


def test_a_path_with_a_nul_byte_is_an_error_before_the_call():
    with pytest.raises(InputError, match="NUL"):
        sys.obj_get("/sys/fs/bpf/a\0b")


def test_types_that_are_newer_than_the_library_are_numbers_with_a_name():
    for make, known in ((map_type, sys.MapType.HASH), (program_type, sys.ProgramType.XDP)):
        assert make(int(known)) is known
        newer = make(999)
        assert isinstance(newer, type(known))
        assert (newer, newer.name, newer.value) == (999, "999", 999)
        assert pickle.loads(pickle.dumps(newer)) == newer
