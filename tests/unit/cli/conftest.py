"""The command line, called in this process."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ebpfpy.cli.main import main

TESTDATA = Path(__file__).resolve().parents[3] / "testdata"


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys):
    """Call the command with these words."""

    def call(*words: object) -> Outcome:
        try:
            status = main([str(word) for word in words])
        except SystemExit as leaving:
            status = leaving.code
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return call


@pytest.fixture(scope="session")
def testdata() -> Path:
    return TESTDATA


@pytest.fixture(scope="session")
def kernel() -> Path:
    """The directory with the BTF of a Debian kernel 6.12."""
    return next(TESTDATA.glob("btf/6.12*"))
