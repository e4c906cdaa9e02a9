"""Bytes as C initialisers."""

import struct
import time

import pytest

from ebpfpy import btf
from ebpfpy.btf import (
    Array,
    Builder,
    Datasec,
    Enum,
    Enumerator,
    Float,
    Int,
    Member,
    Pointer,
    Struct,
    Typedef,
    Union,
    Var,
    VarSecinfo,
    Void,
    Volatile,
)
from ebpfpy.errors import EbpfError, InputError

INT = Int("int", 4, 1)
U16 = Int("u16", 2)
CHAR = Int("char", 1, 1)
POINT = Struct("point", 8, (Member("x", INT), Member("y", INT, 32)))
EVENT = Struct("event", 28, (Member("pid", INT), Member("comm", Array(CHAR, INT, 16), 32), Member("at", POINT, 160)))


def test_a_struct_has_names_and_leaves_out_zeroes():
    data = struct.pack("<i16sii", 42, b"bash", 0, 7)
    assert btf.dump_data(EVENT, data) == (
        '(struct event){\n\t.pid = 42,\n\t.comm = "bash",\n\t.at = {\n\t\t.y = 7,\n\t},\n}'
    )


def test_a_nested_struct_is_not_judged_by_its_first_member():
    outer = Struct("outer", 8, (Member("in", POINT),))
    assert ".y = 7" in btf.dump_data(outer, struct.pack("<ii", 0, 7))


def test_compact_is_one_line():
    data = struct.pack("<i16sii", 42, b"bash", 1, 7)
    assert (
        btf.dump_data(EVENT, data, compact=True) == '(struct event){.pid = 42, .comm = "bash", .at = {.x = 1, .y = 7}}'
    )


def test_zeroes_and_bare_values_on_request():
    text = btf.dump_data(POINT, bytes(8), emit_zeroes=True, skip_names=True, indent="  ")
    assert text == "{\n  0,\n  0,\n}"
    assert btf.dump_data(POINT, bytes(8)) == "(struct point){\n}"


@pytest.mark.parametrize(
    ("of", "data", "text"),
    [
        (INT, b"\xff\xff\xff\xff", "(int)-1"),
        (Volatile(INT), b"\1\0\0\0", "(volatile int)1"),
        (Int("_Bool", 1, 4), b"\1", "(_Bool)true"),
        (CHAR, b"'", "(char)'\\''"),
        (CHAR, b"\x80", "(char)-128"),
        (Int("__int128", 16, 1), b"\1" + bytes(15), "(__int128)0x1"),
        (Float("double", 8), struct.pack("<d", 0.5), "(double)0.5"),
        (Float("long double", 16), b"\1" + bytes(15), "(long double)0x1"),
        (Pointer(Void()), struct.pack("<Q", 0xFFFF0000), "(void *)(void *)0xffff0000"),
        (Pointer(Void()), bytes(8), "(void *)NULL"),
        (Enum("e", 4, (Enumerator("RED", 3),)), b"\3\0\0\0", "(enum e)RED"),
        (Enum("e", 4, (Enumerator("RED", 3),)), b"\4\0\0\0", "(enum e)4"),
        (Array(INT, INT, 3), struct.pack("<iii", 1, 0, 0), "(int [3]){\n\t1,\n}"),
        (Array(CHAR, INT, 4), b'a"\n\0', '(char [4])"a\\"\\012"'),
        (Array(CHAR, INT, 4), b"\1\2\0\5", "(char [4]){\n\t1,\n\t2,\n\t0,\n\t5,\n}"),
        (Var("v", INT, 0), b"\5\0\0\0", "int v = 5"),
    ],
)
def test_values(of, data, text):
    assert btf.dump_data(of, data) == text


def test_bitfields_of_either_byte_order():
    flags = Struct(
        "flags", 4, (Member("a", INT, 0, 3), Member("b", Int("unsigned int", 4), 3, 5), Member("c", INT, 8, 24))
    )
    assert btf.dump_data(flags, b"\x8f\x01\0\0", compact=True) == "(struct flags){.a = -1, .b = 17, .c = 1}"
    builder = Builder()
    builder.add(flags)
    big = btf.Spec(builder.marshal("big")).type_by_name("flags", Struct)
    assert btf.dump_data(big, b"\xf1\0\0\x01", compact=True) == "(struct flags){.a = -1, .b = 17, .c = 1}"


def test_a_union_shows_every_view():
    union = Union("u", 4, (Member("i", INT), Member("c", Array(CHAR, INT, 4))))
    assert btf.dump_data(union, b"AB\0\0", compact=True) == '(union u){.i = 16961, .c = "AB"}'


def test_a_flexible_array_takes_the_rest():
    flexible = Struct("f", 4, (Member("n", INT), Member("d", Array(INT, INT, 0), 32)))
    data = struct.pack("<iiii", 3, 1, 2, 3)
    assert btf.dump_data(flexible, data, compact=True) == "(struct f){.n = 3, .d = {1, 2, 3}}"


def test_a_flexible_array_that_something_follows_is_empty_as_in_decode():
    option = Struct("option", 2, (Member("n", U16), Member("text", Array(CHAR, INT, 0), 16)))
    options = Struct("o", 0, (Member("list", Array(option, INT, 0)),))
    data = struct.pack("<HH", 7, 8)
    assert btf.decode(options, data) == {"list": [{"n": 7, "text": ""}, {"n": 8, "text": ""}]}
    assert btf.dump_data(options, data, compact=True) == "(struct o){.list = {{.n = 7}, {.n = 8}}}"
    middle = Struct("m", 4, (Member("a", U16), Member("none", Array(U16, INT, 0), 16), Member("b", U16, 16)))
    assert btf.dump_data(middle, data, compact=True) == "(struct m){.a = 7, .b = 8}"


def test_a_section_is_its_variables():
    section = Datasec(".data", 8, (VarSecinfo(Var("a", INT, 1), 0, 4), VarSecinfo(Var("p", POINT, 1), 0, 8)))
    assert btf.dump_data(section, struct.pack("<ii", 1, 2)) == "int a = 1,\nstruct point p = {\n\t.x = 1,\n\t.y = 2,\n}"


def test_depth_does_not_matter():
    deep = Struct("d", 4, (Member("x", INT),))
    for _ in range(5_000):
        deep = Struct("d", 4, (Member("x", deep),))
    assert btf.dump_data(deep, b"\1\0\0\0", compact=True).count(".x = ") == 5_001


@pytest.mark.parametrize(
    ("of", "data"),
    [
        (POINT, bytes(7)),
        (Void(), b""),
        (Struct("s", 4, (Member("x", INT, 32),)), bytes(4)),
        (Array(Struct("e", 0), INT, 1 << 31), b""),
        (Struct("s", 4, (Member("x", Void()),)), b"1234"),
    ],
)
def test_what_cannot_be_shown_is_an_error(of, data):
    with pytest.raises(EbpfError):
        btf.dump_data(of, data, emit_zeroes=True)


@pytest.mark.parametrize(
    "of",
    [
        Struct("s", 4, (Member("a", INT), Member("b", INT, 32))),
        Struct("s", 4, (Member("a", INT, 30, 3),)),
        Struct("s", 4, (Member("a", CHAR, 3),)),
        Union("u", 4, (Member("a", Array(INT, INT, 2)),)),
        Struct("s", 8, (Member("inner", Struct("", 4, (Member("x", INT, 16),))), Member("b", INT, 32))),
        Datasec(".data", 4, (VarSecinfo(Var("a", INT, 1), 4, 4),)),
    ],
)
def test_what_lies_outside_of_what_contains_it_is_refused_as_by_decode(of):
    for call in (btf.decode, btf.dump_data):
        for data in (bytes(64), bytes(range(1, 65))):
            with pytest.raises(InputError, match=r"ends at|starts at|does not fit"):
                call(of, data)


@pytest.mark.parametrize("last", [(), (Member("rest", Array(INT, INT, 0)),)], ids=["fixed", "flexible"])
@pytest.mark.parametrize("size", [64, 1 << 16])
def test_a_type_that_doubles_at_every_level_is_refused_at_once(last, size):
    doubled = INT
    for _ in range(30):
        doubled = Union("u", 4, (Member("a", doubled), Member("b", doubled), *last))
    started = time.process_time()
    for zeroes in (False, True):
        with pytest.raises(InputError, match=r"more than .* values in"):
            btf.dump_data(doubled, b"\1" * size, emit_zeroes=zeroes)
    assert time.process_time() - started < 0.5


def test_a_type_that_contains_itself_is_an_error():
    selfish = Struct("s", 4, (Member("s", lambda: selfish),))
    with pytest.raises(EbpfError):
        btf.dump_data(selfish, b"1234")


def test_an_array_of_arrays_of_arrays_is_too_large_in_words_of_ordinary_length():
    huge = INT
    for _ in range(600):
        huge = Array(huge, INT, 0xFFFF_FFFF)
    for of in (huge, Struct("s", 4, (Member("a", huge),))):
        with pytest.raises(InputError) as caught:
            btf.dump_data(of, b"1234")
        assert len(str(caught.value)) < 200


def test_members_at_every_length_of_a_long_chain_take_no_quadratic_time():
    chain = [INT]
    for at in range(9_000):
        chain.append(Typedef(f"t{at}", chain[-1]))
    members = tuple(Member(f"m{at}", chain[-1 - at], 32 * at) for at in range(5_000))
    started = time.process_time()
    text = btf.dump_data(Struct("s", 20_000, members), b"\1\0\0\0" * 5_000)
    assert text.count(" = 1,") == 5_000
    assert time.process_time() - started < 2
