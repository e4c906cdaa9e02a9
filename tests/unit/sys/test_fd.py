import os
import threading

import pytest

from ebpfpy.errors import ClosedError
from ebpfpy.sys import Fd, number_of


def open_fd(what="null"):
    return Fd(os.open(os.devnull, os.O_RDONLY), what)


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_close_closes_the_descriptor_and_may_be_called_again():
    fd = open_fd()
    number = fd.fileno()
    fd.close()
    fd.close()
    assert fd.closed
    assert not is_open(number)


def test_a_closed_fd_has_no_number_and_says_what_it_was():
    fd = open_fd("map events")
    fd.close()
    with pytest.raises(ClosedError, match="map events is closed"):
        fd.fileno()


def test_context_manager_closes():
    with open_fd() as fd:
        number = fd.fileno()
    assert not is_open(number)


def test_detach_hands_the_number_on():
    fd = open_fd()
    number = fd.detach()
    assert fd.closed
    assert is_open(number)
    os.close(number)
    with pytest.raises(ClosedError):
        fd.detach()


def test_repr_shows_the_state():
    fd = open_fd("map events")
    assert repr(fd) == f"<Fd map events: fd {fd.fileno()}>"
    fd.close()
    assert repr(fd) == "<Fd map events: closed>"


def test_dropping_an_open_fd_warns_and_closes_it():
    fd = open_fd("map events")
    number = fd.fileno()
    with pytest.warns(ResourceWarning, match="unclosed <Fd map events"):
        del fd
    assert not is_open(number)


def test_many_threads_close_once():
    for _ in range(50):
        fd = open_fd()
        errors = []

        def close(fd=fd, errors=errors):
            try:
                fd.close()
            except OSError as error:
                errors.append(error)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors


def test_a_descriptor_that_means_none_to_bpf_is_moved_up():
    saved = os.dup(0)
    try:
        os.close(0)
        number = os.open(os.devnull, os.O_RDONLY)
        assert number == 0
        with Fd(number, "null") as fd:
            assert fd.fileno() >= 3
            assert not os.get_inheritable(fd.fileno())
            assert not is_open(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def test_number_of_takes_numbers_and_owners():
    with open_fd() as fd:
        assert number_of(fd) == number_of(fd.fileno()) == fd.fileno()
