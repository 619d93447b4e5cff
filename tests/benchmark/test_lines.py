"""A process that answers."""

import pathlib
import sys

import pytest

from mmre_jax.benchmark import lines

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
from lines import answer
def add(a, b):
    print("noise")
    return a + b
answer({"add": add, "end": lambda: os._exit(3)})
"""


def test_a_side_answers_fails_and_ends(capfd):
    with lines.Side("theirs", [sys.executable, "-c", PROGRAM, str(pathlib.Path(lines.__file__).parent)]) as side:
        assert side.ask("add", a=1, b=2) == 3, "what it prints is no answer"
        with pytest.raises(lines.SideError, match=r"theirs: add: TypeError: .* 'str'"):
            side.ask("add", a=1, b="x")
        assert side.ask("add", a=[1], b=[2]) == [1, 2], "it goes on"
        with pytest.raises(lines.SideError, match="ended at 'end' with status 3"):
            side.ask("end")
    assert "noise" in capfd.readouterr().err
