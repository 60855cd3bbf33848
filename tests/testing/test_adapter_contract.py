"""The contract of adapters: one that keeps it passes, and each test of it finds those that do not."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any

import pytest

from tests.testing.meter import METER, MeterContract, PlayedMeter
from tests.testing.wrong_meters import KEPT, WRONG, Wrong
from twingateway.testing.adapter_contract import AdapterContract, MemoryContext, PlayedDevice


class TestMeter(MeterContract):
    """All of it passes, and nothing is skipped."""

    def test_it_is_tried_in_full(self) -> None:
        offers = [name for name, each in vars(PlayedDevice).items() if iscoroutinefunction(each)]
        assert len(offers) > 10
        assert PlayedMeter().lacks((*offers, "takes", "answers")) == ""
        assert self.lacks(("secrets", "mistakes", "heavy")) == ""


class PlayedStone(PlayedDevice):
    answers = False


class Stony(MeterContract):
    secrets = ()


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("cut", "offer `async def cut` in your PlayedStone to have this tried: End its connections and accept"),
        ("takes", "give your PlayedStone `takes` to have this tried"),
        ("answers", "your PlayedStone only speaks by itself"),
    ],
)
def test_what_is_missing_is_named(need: str, said: str) -> None:
    assert PlayedStone({}, {}).lacks((need,)).startswith(said)
    assert "give your Stony `secrets`" in Stony().lacks(("secrets",))


def test_the_test_is_skipped_with_it() -> None:
    class Deaf(PlayedMeter):
        cut = PlayedDevice.cut

    class Contract(MeterContract):
        @asynccontextmanager
        async def play(self, name: str, context: MemoryContext) -> AsyncIterator[PlayedDevice]:
            yield Deaf()

    with pytest.raises(pytest.skip.Exception, match="async def cut"):
        Contract().test_a_device_that_is_not_there_comes_by_itself()


@pytest.fixture
def _tidy() -> Iterator[None]:
    yield
    while KEPT:
        left = KEPT.pop()
        if isinstance(left, threading.Event):
            left.set()
        for end in left if isinstance(left, tuple) else ():
            if isinstance(end, int):
                os.close(end)


def contract(**said: Any) -> Any:
    return type("Contract", (MeterContract,), {"kind": METER, "patience": 3.0, **said})()


@pytest.mark.usefixtures("_tidy")
@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.test}-{wrong.name}")
def test_each_rule_finds_who_breaks_it(wrong: Wrong) -> None:
    broken = contract(kind=wrong.kind, **wrong.more)
    with pytest.raises(AssertionError) as caught:
        getattr(broken, wrong.test)()
    assert wrong.said in str(caught.value)


def rules_of(contract: type[AdapterContract]) -> set[str]:
    return {name for name in dir(contract) if name.startswith("test_")}


def test_there_is_one_who_breaks_it_for_each_rule() -> None:
    assert rules_of(AdapterContract) == {wrong.test for wrong in WRONG}


@pytest.mark.parametrize("test", sorted(rules_of(AdapterContract)))
def test_each_rule_says_in_a_sentence_what_it_is(test: str) -> None:
    sentence = getattr(AdapterContract, test).__doc__
    assert sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
