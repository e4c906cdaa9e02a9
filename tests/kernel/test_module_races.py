"""A module is loaded and unloaded all the time while programs are loaded that need it, and programs that do not.

The latter never notice. The former either work or fail with an error that says that the module is not there; nothing
that they opened stays open.
"""

import itertools
import threading
import time
from collections import Counter

import pytest

import ebpfpy
from ebpfpy import btf, link
from ebpfpy.errors import ExternError, TargetNotFoundError
from tests.kernel import features, modules
from tests.kernel.blueprints import counting_collection, path_of

GONE = (
    "it is not loaded", "it is being unloaded", "it is only just being loaded", "unloaded meanwhile",
    "loaded anew", "comes and goes", "only just being loaded", "no loaded module has it", "not found in vmlinux",
)  # fmt: skip
"""One of these is in every error: it says that the module is missing, not that something is wrong with the program."""


@pytest.fixture(autouse=True)
def module_tracing():
    features.require_module_tracing()


class Coming:
    """Loads and unloads our module for a number of rounds; in each tenth it stays until somebody has used it."""

    def __init__(self, rounds, up, down):
        self.rounds = 0
        self._plan = rounds, up, down
        self._image = modules.demo_image()
        self._over = threading.Event()
        self._used = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        rounds, up, down = self._plan
        try:
            for self.rounds in range(1, rounds + 1):
                modules.insert(self._image)
                if self.rounds % 10 == 0:
                    self._used.clear()
                    self._used.wait(10)
                else:
                    time.sleep(up * (self.rounds % 3))
                modules.remove(modules.DEMO)
                time.sleep(down)
        except OSError as error:
            self._failure = error
        finally:
            self._over.set()

    def until_over(self, work):
        """Call `work` again and again until the last round is over; its result says whether it has used the module."""
        self._thread.start()
        try:
            while not self._over.is_set():
                if work():
                    self._used.set()
        finally:
            self._thread.join()
        assert self._failure is None
        assert self.rounds == self._plan[0]


def load_and_attach(spec, cache):
    with ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache)) as collection:
        for program in collection.programs.values():
            if program.target is not None:
                link.attach(program).close()


def why_missing(spec, cache):
    """The error that says what the kernel does not have; None if programs were loaded and attached."""
    try:
        load_and_attach(spec, cache)
    except (TargetNotFoundError, ExternError) as error:
        return str(error)
    return None


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("shared", "rounds", "up"), [(True, 200, 0.01), (False, 20, 0.1)])
def test_a_module_that_comes_and_goes_harms_only_programs_that_need_it(shared, rounds, up):
    cache = btf.Cache() if shared else None
    needing = {
        "its function": counting_collection("ebpfpy_demo_poke", modules.DEMO),
        "its function, found by name": counting_collection("ebpfpy_demo_poke"),
        "its kfunc": ebpfpy.load_collection_spec(path_of("kfunc_demo.bpf.o")),
        "its types": ebpfpy.load_collection_spec(path_of("kmod_demo.bpf.o")),
    }
    others = [counting_collection("do_nanosleep"), counting_collection("do_nanosleep", "vmlinux")]
    worked, failed = Counter(), Counter()

    turns = itertools.cycle(itertools.product(needing.items(), others))

    def load():
        (name, spec), other = next(turns)
        load_and_attach(other, cache)
        why = why_missing(spec, cache)
        assert why is None or any(text in why for text in GONE), why
        (failed if why else worked)[name] += 1
        return not why

    with modules.absent(modules.DEMO):
        Coming(rounds, up, 0.01).until_over(load)
        assert all(worked[name] for name in needing) or not shared
        assert sum(worked.values()) > 0
        assert sum(failed.values()) > 0
        assert all(why_missing(spec, cache) for spec in needing.values())
        modules.load(modules.DEMO)
        for spec in needing.values():
            load_and_attach(spec, cache)
