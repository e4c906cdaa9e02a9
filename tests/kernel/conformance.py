"""What every kind of link must do, whatever it is attached to; and objects with one program chosen."""

import errno
import os
import re
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import link, sys
from ebpfpy.errors import ClosedError, KernelError, UnsupportedError, VerifierError
from tests.kernel import features
from tests.kernel.blueprints import path_of


@contextmanager
def loaded(name, *programs, **variables):
    """A collection of an object of testdata with only these programs, loaded although their sections begin with "?"."""
    spec = ebpfpy.load_collection_spec(path_of(name))
    for each in set(spec.programs) - set(programs):
        del spec.programs[each]
    for each in spec.programs.values():
        each.autoload = True
    for variable, value in variables.items():
        spec.variables[variable].set(value)
    with ebpfpy.Collection(spec) as collection:
        yield collection


@contextmanager
def only(name, program, **variables):
    """The one program, and its collection, loaded. A kernel that does not know its kind skips the test."""
    with unless_missing(), loaded(name, program, **variables) as collection:
        yield collection.programs[program], collection


OPTIONS = dict.fromkeys(("kprobe.multi", "kretprobe.multi", "kprobe.session"), "CONFIG_FPROBE")
"""Features that distributions leave out of kernels which could have them."""

_NO_HELPER = ("invalid func", "unknown func", "cannot use helper")
"""What the verifier says of a helper that the kernel, or the type of program, does not have."""


@contextmanager
def unless_missing():
    """Skip where the kernel lacks a feature; fail on those of our own virtual machines whose kernel must have it."""
    try:
        yield
    except UnsupportedError as error:
        option = OPTIONS.get(error.feature)
        if option is not None:
            features.require_option(option, str(error))
        features.since(error.minimum or "0", f"this kernel lacks {error.feature}: {error}")
    except KernelError as error:
        if error.errno == errno.EPERM and error.call in ("open", "read"):  # a file of tracefs, under lockdown
            features.require(f"this kernel's policy hides what can be traced: {error}")
        if error.call != "BPF_PROG_LOAD" or error.errno not in (errno.EINVAL, errno.E2BIG, errno.EPERM):
            raise
        if isinstance(error, VerifierError) and error.log and not any(word in error.log for word in _NO_HELPER):
            raise  # the type is known: it is the program that was refused
        refused = f"this kernel refuses the type of program: {error}"
        lacks = re.search(r"this kernel (?:does not have|has no) .*?Linux (\d+\.\d+)", str(error))
        # without these words it is a policy, or a fault of ours: our own virtual machines have neither
        features.since(lacks[1] if lacks and error.errno != errno.EPERM else "0", refused)


def exists(number):
    """Whether the kernel has a link of that id; it may take it a moment to let go of one."""
    try:
        sys.fd_by_id("link", number).close()
    except FileNotFoundError:
        return False
    return True


def gone(number):
    end = time.monotonic() + 20
    while exists(number):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def check_link(attach, kind, *, details=None, pins=True):
    """Put a kind of link through what all have in common.

    Args:
        attach: attaches and returns the link; called twice.
        kind: the `LinkType` that it must be.
        details: the type of the details that the kernel's answer must have.
        pins: whether links of this kind can be pinned.
    """
    attached = attach()
    try:
        info = attached.info
        assert info.type == kind
        assert details is None or isinstance(info.details, details)
        assert info.id in {each.info.id for each in _closing(link.iter_links())}
        assert repr(attached) == f"<{type(attached).__name__} {attached.text} fd {attached.fileno()}>"
        assert not attached.closed
        with link.from_id(info.id) as same:
            assert same.info == info
        if pins and features.no_bpffs() is None:
            _check_pin(attached, info)
    finally:
        attached.close()
    assert attached.closed
    attached.close()
    attached.detach()
    assert repr(attached) == f"<{type(attached).__name__} {attached.text} detached>"
    for ask in (attached.fileno, lambda: attached.info, attached.sever, lambda: attached.pin("/nowhere")):
        with pytest.raises(ClosedError):
            ask()
    assert gone(info.id)
    with attach() as again:
        number = again.info.id
        assert number != info.id
    assert gone(number)
    dropped = attach()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del dropped


def _check_pin(attached, info):
    path = Path(features.BPFFS) / f"ebpfpy-{uuid.uuid4().hex}"
    attached.pin(path)
    try:
        with link.from_path(path) as opened:
            assert opened.info == info
            assert str(path) in opened.text
    finally:
        path.unlink()


def check_attachment(attach):
    """What an attachment without a link must do."""
    attached = attach()
    assert isinstance(attached, link.Attachment)
    for ask in (lambda: attached.info, lambda: attached.pin("/nowhere")):
        with pytest.raises(UnsupportedError, match="attached without a link"):
            ask()
    assert f"fd {attached.fileno()}" in repr(attached)
    attached.close()
    attached.close()
    assert attached.closed
    assert repr(attached).endswith(" detached>")
    with attach():
        pass
    dropped = attach()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del dropped


def _closing(links):
    for each in links:
        with each:
            yield each


def runs(collection, key=0):
    """How often a program of probes.bpf.c or hooks.bpf.c ran, by what it counted as key."""
    return collection.maps["runs"].get(key, 0)


PID = os.getpid()
