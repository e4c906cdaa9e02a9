"""Static probes of user space, in a library that is compiled for the test."""

import ctypes
import os
import shutil
import subprocess

import pytest

from ebpfpy import features, link
from ebpfpy.errors import ClosedError, InputError, TargetNotFoundError, UnsupportedError
from ebpfpy.link.executable import Executable
from ebpfpy.link.usdtnotes import probes
from ebpfpy.sys import LinkType
from tests.kernel import features as machine
from tests.kernel.conformance import gone, only

OBJECT = "usdt.bpf.o"

# A note as <sys/sdt.h> writes them, with the constraints that let the compiler choose the operands.
SOURCE = r"""
#define PROBE(name, semaphore, arguments, ...)                                   \
    __asm__ volatile("990: nop\n"                                                \
        ".pushsection .note.stapsdt,\"\",\"note\"\n"                             \
        ".balign 4\n"                                                            \
        ".4byte 992f-991f, 994f-993f, 3\n"                                       \
        "991: .asciz \"stapsdt\"\n"                                              \
        "992: .balign 4\n"                                                       \
        "993: .8byte 990b, 0, " semaphore "\n"                                   \
        ".asciz \"ours\"\n"                                                      \
        ".asciz \"" name "\"\n"                                                  \
        ".asciz \"" arguments "\"\n"                                             \
        "994: .balign 4\n"                                                       \
        ".popsection\n" :: __VA_ARGS__)

__attribute__((section(".probes"))) volatile unsigned short counter;

__attribute__((noinline)) int fire(int first, long second)
{
    volatile short third = -7;

    PROBE("fired", "0", "-4@%0 8@%1 -2@%2", "r"(first), "r"(second), "m"(third));
    return first;
}

__attribute__((noinline)) int twice(int value)
{
    if (value > 0)
        PROBE("branch", "counter", "-4@%0", "r"(value));
    else
        PROBE("branch", "counter", "-4@$-1");
    return counter;
}

__attribute__((noinline)) void strange(void)
{
    PROBE("odd", "0", "4@nonsense+3(%%rip)");
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = next((name for name in ("cc", "gcc", "gcc-12", "clang-14") if shutil.which(name)), None)
    machine.require(None if compiler and os.uname().machine == "x86_64" else "no C compiler for x86-64 here")
    place = tmp_path_factory.mktemp("usdt")
    source, path = place / "probes.c", place / "libprobes.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-Wl,-Bsymbolic", "-o", path, source], check=True)
    return str(path)


@pytest.fixture(autouse=True)
def cookies():
    there = features.have_perf_event_link()
    machine.since("5.15", None if there else "this kernel has no cookies of perf events (Linux 5.15)")


def at_once():
    """Whether all places of a probe are attached by one link."""
    return features.have_uprobe_multi_of_process()


def seen(collection):
    return [collection.maps["seen"][index] for index in range(5)]


def test_notes_say_where_probes_and_their_arguments_are(library):
    with Executable(library) as executable:
        found = {}
        for each in probes(executable):
            found.setdefault(each.name, []).append(each)
    assert {name: len(each) for name, each in found.items()} == {"fired": 1, "branch": 2, "odd": 1}
    assert found["fired"][0].provider == "ours"
    assert found["fired"][0].arguments.split()[0].startswith("-4@%")
    assert found["branch"][0].semaphore == found["branch"][1].semaphore > 0


def test_a_program_gets_the_arguments_and_the_cookie(library):
    loaded = ctypes.CDLL(library)
    with only(OBJECT, "on_probe") as (program, collection):
        with link.attach_usdt(program, library, "ours", "fired", cookie=2**64 - 1) as attached:
            loaded.fire(-5, ctypes.c_long(2**40))
            assert seen(collection) == [-5, 2**40, -7, 3, -1]
            assert attached.info.type == (LinkType.UPROBE_MULTI if at_once() else LinkType.PERF_EVENT)
            assert len(attached.links) == 1
            number = attached.info.id
            with pytest.raises(UnsupportedError, match="several links"):
                attached.pin("/sys/fs/bpf/x")
        attached.close()
        assert gone(number)
        with pytest.raises(ClosedError):
            attached.fileno()
        loaded.fire(1, 1)
        assert seen(collection)[0] == -5


def test_every_place_of_a_probe_has_its_own_arguments_and_the_counter_is_up_meanwhile(library):
    loaded = ctypes.CDLL(library)
    assert loaded.twice(1) == 0
    with only(OBJECT, "on_probe") as (program, collection):
        with link.attach_usdt(program, library, "ours", "branch", pid=0) as attached:
            assert len(attached.links) == (1 if at_once() else 2)
            assert loaded.twice(9) > 0
            assert seen(collection)[0] == 9
            loaded.twice(0)
            assert seen(collection)[0] == -1
        assert loaded.twice(1) == 0


def test_probes_share_the_map_and_give_their_places_back(library):
    with only(OBJECT, "on_probe") as (program, collection):
        for _ in range(3):  # more than the map has room for, if places were not given back
            link.attach_usdt(program, library, "ours", "branch").close()
        loaded = ctypes.CDLL(library)
        with (
            link.attach_usdt(program, library, "ours", "fired", cookie=1),
            link.attach_usdt(program, library, "ours", "branch", cookie=2),
        ):
            with pytest.raises(InputError, match="no room for 2 more"):
                link.attach_usdt(program, library, "ours", "branch")
            loaded.fire(1, 2)
            assert seen(collection)[4] == 1
            loaded.twice(1)
            assert seen(collection)[4] == 2


def test_what_cannot_be_is_named(library):
    with only(OBJECT, "on_probe") as (program, _):
        with pytest.raises(TargetNotFoundError, match="no such static probe; it has 3, such as ours:fired"):
            link.attach_usdt(program, library, "ours", "fire")
        with pytest.raises(UnsupportedError, match="is nothing that ebpfpy knows"):
            link.attach_usdt(program, library, "ours", "odd")
        with pytest.raises(InputError, match=r"use link\.attach_usdt\(program, binary, provider, name\)"):
            link.attach(program)
        with pytest.raises(TargetNotFoundError, match="nor any other"):
            link.attach_usdt(program, "/proc/self/exe", "a", "b")
    with only("probes.bpf.o", "uprobe_plain") as (program, _), pytest.raises(InputError, match="__bpf_usdt_specs"):
        link.attach_usdt(program, library, "ours", "fired")
