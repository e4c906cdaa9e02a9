"""Programs are made ready together and loaded one after the other, in their order."""

import pytest

import ebpfpy
from ebpfpy import asm, btf
from ebpfpy.elf import readbefore
from ebpfpy.errors import InputError, UnsupportedError, VerifierError
from ebpfpy.loader.programloader import ProgramLoader
from ebpfpy.sys import Command, programs
from tests.kernel.blueprints import collection_of, path_of, program_of

GOOD = [asm.mov_imm(0, 0), asm.exit_()]
REFUSED = [asm.exit_()]  # r0 is not set


@pytest.fixture
def events(monkeypatch):
    """Names of programs as they are made ready ("ready NAME") and loaded ("NAME")."""
    seen = []
    really, prepare = programs.try_bpf, ProgramLoader._prepare

    def noted(command, attr):
        if command == Command.PROG_LOAD:
            seen.append(attr.prog_name.decode())
        return really(command, attr)

    def prepared(loader, spec):
        seen.append(f"ready {spec.name}")
        return prepare(loader, spec)

    monkeypatch.setattr(programs, "try_bpf", noted)
    monkeypatch.setattr(ProgramLoader, "_prepare", prepared)
    return seen


def test_programs_are_ready_before_the_first_is_loaded(events):
    names = [f"by_hand_{number}" for number in range(5)]
    with ebpfpy.Collection(collection_of(*(program_of(GOOD, name=name) for name in names))) as collection:
        assert list(collection.programs) == names
    assert events == [*(f"ready {name}" for name in names), *names]


def test_where_logs_are_asked_for_there_is_room_for_one_at_a_time(events):
    names = ["first", "second"]
    options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=2))
    with ebpfpy.Collection(collection_of(*(program_of(GOOD, name=name) for name in names)), options) as collection:
        assert all(program.log for program in collection.programs.values())
    assert events == ["ready first", "first", "ready second", "second"]


def test_a_program_with_externs_is_made_ready_when_it_is_its_turn_and_the_order_stays(events):
    spec = ebpfpy.load_collection_spec(path_of("supplied.bpf.o"))
    whole = [each for each in spec.programs.values() if each.name != "variable"]  # which not every kernel keeps
    plain = [program_of(GOOD, name=f"plain_{number}") for number in range(3)]
    spec.programs = {each.name: each for each in (*plain[:2], *whole, plain[2])}
    with ebpfpy.Collection(spec) as collection:
        assert list(collection.programs) == list(spec.programs)
    ours = {name[:15] for name in spec.programs} | {f"ready {name}" for name in spec.programs}
    seen = list(dict.fromkeys(each for each in events if each in ours))  # questions and second attempts left out
    assert [each for each in seen if not each.startswith("ready")] == [name[:15] for name in spec.programs]
    first = seen.index(f"ready {whole[0].name}")
    assert seen[first + 1 : first + 4] == ["plain_0", "plain_1", whole[0].name[:15]]


def test_programs_are_known_by_their_names_in_the_collection():
    spec = collection_of()
    spec.programs = {"one": program_of(GOOD, name="same"), "two": program_of(GOOD, name="same")}
    with ebpfpy.Collection(spec) as collection:
        assert list(collection.programs) == ["one", "two"]
        assert collection.programs["one"] is not collection.programs["two"]


@pytest.mark.parametrize("first", ["refused", "malformed", "missing"])
def test_what_is_wrong_with_the_first_program_is_said_first(first):
    malformed = program_of(GOOD, name="malformed")
    malformed.code = b""
    missing = program_of(GOOD, name="missing")
    missing.references = (ebpfpy.elf.Reference(0, ebpfpy.elf.ReferenceKind.UNRESOLVED, "nothing"),)
    bad = {"refused": program_of(REFUSED, name="refused"), "malformed": malformed, "missing": missing}
    errors = {"refused": VerifierError, "malformed": InputError, "missing": UnsupportedError}
    order = [bad.pop(first), *bad.values()]
    with pytest.raises(errors[first], match=f"program {first}"):
        ebpfpy.Collection(collection_of(program_of(GOOD, name="good"), *order))


def test_the_next_load_with_a_cache_does_not_read_the_object_again(monkeypatch):
    read = []
    really = readbefore.read_blueprints
    monkeypatch.setattr(readbefore, "read_blueprints", lambda file: read.append(file.source) or really(file))
    options = ebpfpy.CollectionOptions(cache=btf.Cache())
    tags = []
    for _ in range(2):
        with ebpfpy.load_collection(path_of("thirty_plain.bpf.o"), options) as collection:
            tags.append([program.info.tag for program in collection.programs.values()])
            collection.spec.programs.clear()
    assert tags[0] == tags[1]
    assert len(tags[0]) == 30
    assert len(read) == 1
