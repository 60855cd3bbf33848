"""Contenders in turn."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from interop.link import NeedsRoot
from interop.processes import Died
from interop.turns import Turn, in_turn, json_line


@dataclass
class Figures:
    contender: str
    p99_ms: float


async def test_one_that_fails_loses_nobody_elses_figures(capsys):
    async def measure(name: str) -> Figures:
        if name == "second":
            raise Died("edge", -9, "its last words")
        if name == "third":
            raise TimeoutError
        return Figures(name, 1.5)

    turns = [turn async for turn in in_turn(["first", "second", "third", "fourth"], measure)]
    assert turns == [
        Turn("first", Figures("first", 1.5)),
        Turn("second", None, "edge was ended by signal 9"),
        Turn("third", None, "TimeoutError"),
        Turn("fourth", Figures("fourth", 1.5)),
    ]
    assert "its last words" in capsys.readouterr().err


async def test_where_nobody_can_be_measured_nobody_is_tried():
    async def measure(name: str) -> None:
        raise NeedsRoot

    with pytest.raises(NeedsRoot):
        [turn async for turn in in_turn(["first", "second"], measure)]


def test_a_line_of_json_has_the_figures_or_the_reason():
    assert json.loads(json_line("a", Figures("a", 2.0), "")) == {"contender": "a", "p99_ms": 2.0}
    assert json.loads(json_line("a", None, "it died")) == {"contender": "a", "error": "it died"}
