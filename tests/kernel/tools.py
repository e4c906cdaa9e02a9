"""The tools of testdata/tools: configured, loaded and attached, and what they report."""

from contextlib import ExitStack, contextmanager

import ebpfpy
from ebpfpy import btf, link, perf, ringbuf
from ebpfpy.sys import MapType
from tests.kernel.blueprints import event_type, path_of
from tests.kernel.conformance import unless_missing


class Tool:
    """A tool that runs.

    Attributes:
        maps, variables, programs: of its collection.
        links: by program; `stop` closes them, so that counts stand still.
    """

    def __init__(self, collection, stack):
        self.collection = collection
        self.maps, self.variables, self.programs = collection.maps, collection.variables, collection.programs
        self.links = {}
        self._stack = stack

    def attach(self):
        for name, program in self.programs.items():
            self.links[name] = self._stack.enter_context(link.attach(program))

    def stop(self):
        for each in self.links.values():
            each.close()


@contextmanager
def running(name, *optional, options=None, attach=True, **variables):
    """A tool that runs, or skip where the kernel lacks what it is made of.

    Args:
        name: of the tool.
        optional: programs to load though their sections begin with "?".
        options: of the collection.
        attach: attach each program to what its section names.
        variables: the tool's configuration.
    """
    spec = ebpfpy.load_collection_spec(path_of(f"tools/{name}.bpf.o"))
    for variable, value in variables.items():
        spec.variables[variable].set(value)
    for each in optional:
        spec.programs[each].autoload = True
    with ExitStack() as stack:
        with unless_missing():
            tool = Tool(stack.enter_context(ebpfpy.Collection(spec, options)), stack)
            if attach:
                tool.attach()
        yield tool


@contextmanager
def listening(tool):
    """A function that waits for so many records of a tool's buffer `events`, and returns their bytes."""
    events = tool.maps["events"]
    kind = ringbuf if events.type == MapType.RINGBUF else perf
    with kind.Reader(events, timeout=20) as reader:

        def read(number):
            records = [reader.read() for _ in range(number)]
            return records if kind is ringbuf else [each.data for each in records]

        yield read


@contextmanager
def reporting(tool):
    """A function that waits for so many events of a tool, and returns them as decoded by its struct event."""
    kind = event_type(tool.collection)
    with listening(tool) as read:  # a perf buffer's records have padding behind them
        yield lambda number: [btf.decode(kind, data[: kind.size]) for data in read(number)]
