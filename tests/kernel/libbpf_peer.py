"""libbpf as a neighbour: it loads an object in a process of its own, and hands over descriptors of what it has made.

So both sides of a comparison are looked at by the same code, whichever libbpf it is: the one of the distribution, or
the newer one that `tests.differential.newlibbpf` borrows, which only another release's loader can run. A libbpf that
crashes takes its own process down and no more.

    with Peer() as libbpf:
        with libbpf.load("testdata/maps.bpf.o") as loaded:
            loaded.programs["fill"], loaded.maps["hash"]        descriptors

As a program, with the number of a socket: a question is one JSON message with descriptors, an answer is one JSON
message, followed by messages with descriptors, at most 200 each.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # as a program, started without site-packages
    sys.path.insert(0, str(ROOT))

from tests.differential.libbpf import PRINT, OpenOptions, library, programs  # noqa: E402

MESSAGE = 1 << 20
AT_ONCE = 200  # descriptors in one message; the kernel takes 253
STRUCT_OPS_MAP = 26
LINK = 1 << 13  # BPF_F_LINK


class LibbpfError(Exception):
    """libbpf did not load an object.

    Attributes:
        errno: the error number.
        log: libbpf's warnings.
    """

    def __init__(self, number, log):
        super().__init__(f"libbpf: {os.strerror(number) if number < 200 else number}: {log[-1000:]}")
        self.errno = number
        self.log = log


class Loaded:
    """What libbpf has loaded: descriptors by name; data sections by the section's name. A context manager.

    Structures that were attached are so until the end: by a link, or else until they are taken out of their map.
    """

    def __init__(self, programs, maps, links, attached):
        self.programs = programs
        self.maps = maps
        self.links = links
        self._attached = attached

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        from ebpfpy.sys import map_delete  # not for the process that asks

        for name in self._attached:
            if name not in self.links:
                map_delete(self.maps[name], bytes(4))
        for fd in (*self.programs.values(), *self.maps.values(), *self.links.values()):
            os.close(fd)


class Peer:
    """A process that asks libbpf. A context manager.

    Args:
        new: the newer libbpf, not the distribution's.

    Raises:
        SetupError: there is no newer libbpf here.
    """

    def __init__(self, *, new=True):
        command = [str(Path(sys.executable).resolve()), "-I", "-S", __file__]
        if new:
            from tests.differential import newlibbpf

            loader, libraries = (str(newlibbpf.root() / part) for part in newlibbpf.CACHED)
            command = [loader, "--library-path", libraries, *command]
        with ExitStack() as undo:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._socket.close)
            with theirs:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE)
                self._process = subprocess.Popen([*command, str(theirs.fileno())], pass_fds=[theirs.fileno()])
            undo.pop_all()

    def load(
        self, path, *, programs=None, maps=None, targets=None, pin_root=None, sizes=None, left_out=(), attached=()
    ):
        """Load an object.

        Args:
            path: of the object.
            programs: names of those to load; None: what the object says.
            maps: names of struct_ops maps to make; None: what the object says.
            targets: of programs that attach to programs: (descriptor, function) by name.
            pin_root: where maps are pinned that ask for it; None: they are not.
            sizes: other sizes of maps' values, by name.
            left_out: names of maps that are not made.
            attached: names of struct_ops maps that are attached.

        Raises:
            LibbpfError: libbpf or the kernel refused.
        """
        targets = targets or {}
        fds = [fd for fd, _ in targets.values()]
        question = {
            "path": str(path),
            "programs": programs,
            "maps": maps,
            "targets": {name: function for name, (_, function) in targets.items()},
            "pin_root": pin_root,
            "sizes": sizes or {},
            "left_out": list(left_out),
            "attached": list(attached),
        }
        return self._ask(question, fds)

    def _ask(self, question, fds):
        socket.send_fds(self._socket, [json.dumps(question).encode()], fds)
        message = self._socket.recv(MESSAGE)
        if not message:
            raise RuntimeError(f"libbpf took its process down: {self._process.wait()}")
        answer = json.loads(message)
        if "error" in answer:
            raise LibbpfError(answer["error"], answer["log"])
        kinds = ("programs", "maps", "links")
        names = [name for kind in kinds for name in answer[kind]]
        found = []
        while len(found) < len(names):
            _, more, _, _ = socket.recv_fds(self._socket, 1, AT_ONCE)
            found += more
        each = iter(found)
        return Loaded(*({name: next(each) for name in answer[kind]} for kind in kinds), question["attached"])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._socket.close()
        self._process.wait(60)


# --- the process that asks ------------------------------------------------------------------------------


def prototypes():
    """libbpf, with the prototypes that nobody else needs."""
    lib = library()
    pointer = ctypes.c_void_p
    for name in ("bpf_object__find_map_by_name", "bpf_object__next_map", "bpf_map__attach_struct_ops"):
        getattr(lib, name).restype = pointer
    lib.bpf_object__next_map.argtypes = [pointer, pointer]
    lib.bpf_map__name.restype = ctypes.c_char_p
    one = ("bpf_map__name", "bpf_map__fd", "bpf_map__type", "bpf_map__map_flags", "bpf_program__fd")
    for name in (*one, "bpf_map__attach_struct_ops", "bpf_link__fd"):
        getattr(lib, name).argtypes = [pointer]
    lib.bpf_map__autocreate.restype = ctypes.c_bool
    lib.bpf_map__autocreate.argtypes = [pointer]
    lib.bpf_map__set_pin_path.argtypes = [pointer, ctypes.c_char_p]
    lib.bpf_map__set_autocreate.argtypes = [pointer, ctypes.c_bool]
    lib.bpf_map__set_value_size.argtypes = [pointer, ctypes.c_uint32]
    lib.bpf_program__set_attach_target.argtypes = [pointer, ctypes.c_int, ctypes.c_char_p]
    return lib


def maps(lib, handle):
    """The maps of an object by name; data sections by their section's name."""
    found = {}
    each = lib.bpf_object__next_map(handle, None)
    while each:
        name = lib.bpf_map__name(each).decode()
        found[name[name.index(".") :] if "." in name else name] = each
        each = lib.bpf_object__next_map(handle, each)
    return found


def load(lib, question, fds):
    """Load an object as asked: (programs, maps, descriptors of links) by name, and its handle."""
    options = OpenOptions(sz=ctypes.sizeof(OpenOptions))
    if question["pin_root"] is not None:
        options.pin_root_path = question["pin_root"].encode()
    handle = lib.bpf_object__open_file(question["path"].encode(), ctypes.byref(options))
    if not handle or lib.libbpf_get_error(handle):
        raise OSError(ctypes.get_errno(), "cannot be opened")
    named = {lib.bpf_program__name(each).decode(): each for each in programs(handle)}
    for name, each in named.items():
        if question["programs"] is not None:
            lib.bpf_program__set_autoload(each, name in question["programs"])
    for fd, (name, function) in zip(fds, question["targets"].items(), strict=True):
        check(lib.bpf_program__set_attach_target(named[name], fd, function.encode()), f"target of {name}")
    all_maps = maps(lib, handle)
    for name, each in all_maps.items():
        if question["maps"] is not None and lib.bpf_map__type(each) == STRUCT_OPS_MAP:
            check(lib.bpf_map__set_autocreate(each, name in question["maps"]), name)
        if name in question["left_out"]:
            check(lib.bpf_map__set_autocreate(each, False), name)
        if question["pin_root"] is None:
            check(lib.bpf_map__set_pin_path(each, None), name)
        if name in question["sizes"]:
            check(lib.bpf_map__set_value_size(each, question["sizes"][name]), name)
    error = lib.bpf_object__load(handle)
    if error:
        lib.bpf_object__close(handle)
        raise OSError(-error, "cannot be loaded")
    links = {name: attach(lib, all_maps[name]) for name in question["attached"]}
    return named, all_maps, {name: fd for name, fd in links.items() if fd is not None}, handle


def attach(lib, operations):
    """Attach a structure; the descriptor of its link, None if it has none. libbpf's own part of it is left as it is."""
    link = lib.bpf_map__attach_struct_ops(operations)
    if not link:
        raise OSError(ctypes.get_errno(), "cannot be attached")
    return lib.bpf_link__fd(link) if lib.bpf_map__map_flags(operations) & LINK else None


def check(error, what):
    if error:
        raise OSError(-error, what)


def answer(lib, channel, question, fds, lines):
    """Answer one question."""
    lines.clear()
    try:
        named, all_maps, links, handle = load(lib, question, fds)
    except OSError as error:
        channel.send(json.dumps({"error": error.errno, "log": "".join(lines) or str(error)}).encode())
        return
    finally:
        for fd in fds:
            os.close(fd)
    loaded = {name: lib.bpf_program__fd(each) for name, each in named.items()}
    # a newer libbpf has descriptors, of nothing, also for maps that are not made
    made = {name: lib.bpf_map__fd(each) for name, each in all_maps.items() if lib.bpf_map__autocreate(each)}
    loaded, made = ({name: fd for name, fd in of.items() if fd >= 0} for of in (loaded, made))
    channel.send(json.dumps({"programs": list(loaded), "maps": list(made), "links": list(links)}).encode())
    descriptors = [*loaded.values(), *made.values(), *links.values()]
    for start in range(0, len(descriptors), AT_ONCE):
        socket.send_fds(channel, [b"."], descriptors[start : start + AT_ONCE])
    for fd in links.values():
        os.close(fd)
    lib.bpf_object__close(handle)


def main():
    lib = prototypes()
    libc = ctypes.CDLL(None)
    libc.vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
    buffer = ctypes.create_string_buffer(1 << 14)
    lines = []

    def log(level, text, arguments):
        if level == 0:
            libc.vsnprintf(buffer, len(buffer), text, arguments)
            lines.append(buffer.value.decode("utf-8", "replace"))
        return 0

    callback = PRINT(log)
    lib.libbpf_set_print(callback)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        while True:
            message, fds, _, _ = socket.recv_fds(channel, MESSAGE, AT_ONCE)
            if not message:
                return
            answer(lib, channel, json.loads(message), fds, lines)


if __name__ == "__main__":
    main()
