"""What is concluded from the answers to the halves of a block that was refused."""

from __future__ import annotations

import pytest
from twingateway_modbus.bisection import Answer, bisect
from twingateway_modbus.codec import Codec
from twingateway_modbus.layout import DataType
from twingateway_modbus.learned import Learned
from twingateway_modbus.plan import Block, Range
from twingateway_modbus.point import Point, Table

BLOCK = Block.of(Point(str(at), Table.INPUT, at, Codec(DataType.UINT16), 1.0) for at in (0, 2, 8))


async def learn(*refused: int, other: Answer | None = None) -> tuple[bool, Learned, list[tuple[int, int]]]:
    """From a device that refuses every block with one of these addresses; `other`: its answer to 8 alone."""
    learned, asked = Learned(None, ""), []

    async def ask(half: Block) -> Answer:
        asked.append((half.address, half.end))
        if other is not None and half.address == 8:
            return other
        return Answer.REFUSED if any(half.address <= at < half.end for at in refused) else Answer.DATA

    return await bisect(BLOCK, ask, learned), learned, asked


async def test_the_gap_between_two_halves_that_are_answered_is_the_reason() -> None:
    has_learned, learned, asked = await learn(5)
    assert has_learned
    assert learned.holes == {Table.INPUT: {Range(3, 8)}}
    assert asked == [(0, 3), (8, 9)]


async def test_one_half_that_is_refused_is_reason_enough() -> None:
    _, learned, asked = await learn(1)
    assert learned.holes == {Table.INPUT: {Range(1, 2)}}
    assert asked == [(0, 3), (0, 1), (2, 3), (8, 9)]


async def test_what_cannot_be_divided_is_read_alone() -> None:
    _, learned, _ = await learn(2)
    assert learned.holes == {}
    assert learned.alone == {Table.INPUT: {Range(2, 3)}}


@pytest.mark.parametrize("other", [Answer.EXCEPTION, Answer.NOTHING])
async def test_a_half_of_which_nothing_is_known_proves_no_gap(other: Answer) -> None:
    has_learned, learned, _ = await learn(5, other=other)
    assert not has_learned
    assert (learned.holes, learned.alone) == ({}, {})
