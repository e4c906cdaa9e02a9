"""Prototypes of kfuncs: kernel functions that BPF programs may call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cwords import FUNC_PROTO
from .kinds import VLEN_MASK

if TYPE_CHECKING:
    from .cheader import _Header

_HEAD = """\
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __bpf_fastcall
#if defined(__has_attribute) && defined(__bpf__)
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#endif
#endif
#endif
#ifndef __bpf_fastcall
#define __bpf_fastcall
#endif

"""
_TAIL = "\n#endif /* BPF_NO_KFUNC_PROTOTYPES */\n\n"


def write_kfuncs(header: _Header) -> None:
    """Write the prototypes of a spec's own functions that have the declaration tag ``bpf_kfunc``, and what they need.

    Args:
        header: where they are written.
    """
    out, words, starts = header.out, header.words, header.starts
    kfuncs = [func for func, texts in sorted(header.callable.items()) if "bpf_kfunc" in texts]
    if not kfuncs:
        return
    out.append(_HEAD)
    for func in kfuncs:
        start = starts[func]
        name = header.names[words[start]]
        if name in header.taken.ordinary:
            out.append(f"/* {name}: the name has another meaning here */\n")
            continue
        header.taken.ordinary[name] = 1
        proto = words[start + 2]
        header.walk([proto << 1])
        before, behind, _, inner, _ = header.declarator(proto)
        tags = header.tags_on(func)
        if tags and header.kinds[proto] == FUNC_PROTO:
            at = starts[proto]
            before, behind, *_ = header.function(words, at, words[at + 1] & VLEN_MASK, tags)
        ending = [*header.declared(tags.get(-1, ())), "__weak __ksym"]
        if "bpf_fastcall" in header.callable[func]:
            ending.insert(0, "__bpf_fastcall")
        text = header.expand(f"extern {before}{name}{behind}")
        header.inner += inner
        out.append(f"{header.forward()}{text} {' '.join(ending)};\n")
    out.append(_TAIL)
