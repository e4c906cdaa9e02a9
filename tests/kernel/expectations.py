"""The tables `expected.toml` beside the objects of testdata: what becomes of each when it is loaded."""

import tomllib
from fnmatch import fnmatch
from functools import cache

from tests.kernel.blueprints import TESTDATA

FILE = "expected.toml"


def objects():
    """Every compiled object, by its path from testdata."""
    return sorted(str(path.relative_to(TESTDATA)) for path in TESTDATA.rglob("*.o"))


@cache
def tables():
    """The tables by directory, as paths from testdata."""
    return {str(path.parent.relative_to(TESTDATA)): tomllib.loads(path.read_text()) for path in TESTDATA.rglob(FILE)}


def words_for(feature):
    """What an error says where the kernel does not have a feature."""
    (words,) = {table["missing"][feature] for table in tables().values() if feature in table.get("missing", {})}
    return words


def entry_of(name):
    """What the table beside an object says of it: the first pattern that fits; None for nothing."""
    directory, _, file = name.rpartition("/")
    table = tables().get(directory or ".", {})
    return next((entry for pattern, entry in table.items() if pattern != "missing" and fnmatch(file, pattern)), None)
