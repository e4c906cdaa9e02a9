"""Blueprints with one value that does not belong there: each is refused by an error of ours, or loads."""

import random
from contextlib import suppress

import attrs
import pytest

import ebpfpy
from ebpfpy.errors import EbpfError
from tests.kernel.blueprints import path_of

TRIED = 100
ODD = (
    *(None, True, 0, -1, 1 << 32, 1 << 64, 1 << 70, 1.5, float("nan")),
    *("", "x", "\0", "\ud800", b"", b"x", (), (1, 2), [1], {"a": 1}, {1: "a"}, object()),
)


def parts_of(spec):
    """Name and object of every part of a blueprint that has fields."""
    yield "collection", spec
    for table in ("maps", "programs", "variables"):
        for name, part in getattr(spec, table).items():
            yield f"{table} {name}", part
    for name, part in spec.maps.items():
        if part.inner is not None:
            yield f"inside of {name}", part.inner


def places_of(spec):
    """Part, field and, for a tuple of rows, field of its first row: where one value can be changed."""
    for label, part in parts_of(spec):
        for field in attrs.fields(type(part)):
            yield label, field.name, None
            rows = getattr(part, field.name)
            if isinstance(rows, tuple) and rows and hasattr(rows[0], "_fields"):
                yield from ((label, field.name, inner) for inner in rows[0]._fields)
            elif isinstance(rows, tuple) and rows and attrs.has(type(rows[0])):
                yield from ((label, field.name, inner.name) for inner in attrs.fields(type(rows[0])))


def changed(spec, place, value):
    """A copy of the blueprint with a value in that place."""
    label, field, inner = place
    copy = spec.copy()
    part = dict(parts_of(copy))[label]
    if inner is not None:
        first, *others = getattr(part, field)
        evolve = attrs.evolve if attrs.has(type(first)) else type(first)._replace
        value = (evolve(first, **{inner: value}), *others)
    setattr(part, field, value)
    return copy


@pytest.mark.parametrize("name", ["demo", "globals", "map_values", "struct_ops"])
def test_a_value_that_does_not_belong_there_is_refused_or_loads(name, options):
    spec = ebpfpy.load_collection_spec(path_of(f"{name}.bpf.o"))
    places = sorted(set(places_of(spec)), key=str)
    choose = random.Random(name)
    for _ in range(TRIED):
        place, value = choose.choice(places), choose.choice(ODD)
        try:
            with suppress(EbpfError), ebpfpy.Collection(changed(spec, place, value), options):
                pass
        except Exception as error:  # which place and value it was
            pytest.fail(f"{place} = {value!r}: {error!r}")
