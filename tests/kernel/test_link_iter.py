"""Iterators: read like files, over everything or what they are limited to."""

import os
import struct
import threading

import pytest

from ebpfpy import btf, link, sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import LinkType, linkinfo
from tests.kernel import features
from tests.kernel.conformance import PID, check_link, only, unless_missing
from tests.kernel.test_link_cgroup import made, mount_point

OBJECT = "iters.bpf.o"


def pairs(text):
    return [tuple(map(int, line.split())) for line in text.decode().splitlines()]


def test_every_task_is_gone_through_on_every_reading():
    with only(OBJECT, "each_task") as (program, _):
        with unless_missing():
            attached = link.attach(program)
        with attached:
            assert (PID, PID) in pairs(attached.read())
            assert (PID, PID) in pairs(attached.read())
            with attached.open() as fd:
                assert os.read(fd.fileno(), 10)
            if attached.info.details is not None:
                assert attached.info.target == "task"
        check_link(lambda: link.attach(program), LinkType.ITER, details=linkinfo.IterDetails)


def test_the_threads_of_one_process_or_one_thread_alone():
    with only(OBJECT, "each_task") as (program, _):
        done = threading.Event()
        other = threading.Thread(target=done.wait)
        other.start()
        try:
            try:
                attached = link.attach_iter(program, pid=PID)
            except KernelError as error:
                features.since("6.1", f"this kernel has no parameters of task iterators (Linux 6.1): {error}")
            with attached:
                assert {(PID, PID), (PID, other.native_id)} <= set(pairs(attached.read()))
                assert {tgid for tgid, _ in pairs(attached.read())} == {PID}
                assert attached.info.details.pid == PID
            with link.attach_iter(program, tid=other.native_id) as attached:
                assert pairs(attached.read()) == [(PID, other.native_id)]
        finally:
            done.set()
            other.join()


def test_the_elements_of_a_map():
    with only(OBJECT, "each_element") as (program, collection):
        numbers = collection.maps["numbers"]
        with pytest.raises(KernelError, match="needs a map"):
            link.attach(program)
        with link.attach_iter(program, elements_of=numbers) as attached:
            for key in (1, 2, 3):
                numbers.update_bytes(struct.pack("=I", key), struct.pack("=Q", key * key))
            assert sorted(pairs(attached.read())) == [(1, 1), (2, 4), (3, 9)]
            assert attached.info.number == numbers.info.id
            assert attached.text == "each_element to iterator bpf_map_elem of map numbers"
        check_link(lambda: link.attach_iter(program, elements_of=numbers), LinkType.ITER)


def test_the_cgroups_below_one_and_above_it():
    if not btf.load_kernel_spec().ids_by_name(b"bpf_iter_cgroup"):
        features.since("6.1", "this kernel has no iterator over cgroups")
    path = mount_point() / f"ebpfpy-{os.getpid()}"
    with only(OBJECT, "each_cgroup") as (program, _), made(path), made(path / "below") as below:
        here, there = os.stat(path).st_ino, os.stat(below).st_ino
        with unless_missing():
            attached = link.attach_iter(program, cgroup=path)
        with attached:
            assert pairs(attached.read()) == [(0, here), (0, there)]
        with link.attach_iter(program, cgroup=below, order=link.CgroupOrder.ANCESTORS_UP) as attached:
            found = pairs(attached.read())
            assert found[:2] == [(0, there), (0, here)]
            assert attached.info.details.cgroup_id == there
        with link.attach(program) as attached:
            assert (0, here) in pairs(attached.read())
        with pytest.raises(FileNotFoundError, match="cgroup /no/such"):
            link.attach_iter(program, cgroup="/no/such")


def test_parameters_of_two_kinds_are_refused():
    with only(OBJECT, "each_task") as (program, collection):
        with pytest.raises(InputError, match="one of elements_of, cgroup, pid and tid"):
            link.attach_iter(program, pid=1, elements_of=collection.maps["numbers"])
        with pytest.raises(InputError, match="no process or thread has the number -1"):
            link.attach_iter(program, pid=-1)
        assert program.spec.attach_type == sys.AttachType.TRACE_ITER
