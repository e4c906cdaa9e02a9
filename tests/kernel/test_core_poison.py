"""Programs that reach an instruction without an answer: the verifier refuses them, the error says what was asked."""

import pytest

import ebpfpy
from ebpfpy import core
from ebpfpy.errors import VerifierError
from tests.kernel.blueprints import path_of
from tests.kernel.needs import require_object

REFUSED = {
    "refused_member": ("byte_off", "struct task_struct___typo.tgidd (0:0 @ offset 0)", "no member 'tgidd'", "tgid"),
    "refused_type": ("byte_off", "struct ebpfpy_no_such_type.member (0:0 @ offset 0)", "ebpfpy_no_such_type", None),
    "refused_load": ("byte_off", "struct task_struct___typo.tgidd (0:0 @ offset 0)", "no member 'tgidd'", "tgid"),
    "refused_signed_load": ("byte_off", "struct task_struct___narrow.tgid (0:1 @ offset 8)", "8 bytes", None),
    "refused_pointer": ("byte_off", "struct task_struct___wide.pid (0:2 @ offset 16)", "member 'pid': ", None),
    "refused_enumerator": ("enumval_value", "enum pid_type::PIDTYPE_NO_SUCH = 200", "'PIDTYPE_NO_SUCH'", "PIDTYPE_SID"),
}
"""Kind, what is asked in libbpf's words, why there is no answer, and a name that resembles."""


@pytest.mark.parametrize("name", ["core_verdict-clang14-el.o", "core_verdict.bpf.o"])
@pytest.mark.parametrize("program", REFUSED)
def test_a_refused_program_names_the_relocation_its_reason_and_what_resembles_it(program, name, cache):
    if program.endswith("load"):
        require_object(name)
    kind, asked, why, near = REFUSED[program]
    spec = ebpfpy.load_collection_spec(path_of(name))
    spec.programs = {program: spec.programs[program]}
    spec.programs[program].autoload = True
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache))
    error = caught.value
    assert error.program == program
    for text in (str(error), error.log):
        assert f"CO-RE relocation {kind} of [" in text
        assert asked in text
        assert why in text
        assert near is None or ("did you mean" in text and near in text.partition("did you mean")[2])
    assert "invalid func unknown" not in error.log
    assert str(core.POISON_CALL) not in str(error)


def test_the_poison_that_is_never_reached_is_accepted(cache):
    """core_kinds asks whether a member exists before it reads it: the instructions that read it are poisoned."""
    require_object("core_kinds.bpf.o")
    spec = ebpfpy.load_collection_spec(path_of("core_kinds.bpf.o"))
    with ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache)) as collection:
        poisoned = [f for program in collection.programs.values() for f in program.fixups if f.poisoned]
    assert any("ebpfpy_no_such" in fixup.local or "___old" in fixup.local for fixup in poisoned)
