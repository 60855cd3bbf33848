"""Why a device refused a block: found by reading it in halves, down to what cannot be divided.

If both halves are answered, the gap between them was the reason: it is remembered and never bridged again. What is
refused though it cannot be divided is read alone from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from twingateway.errors import DeviceError
from twingateway_modbus.exceptions import REFUSING_AN_ADDRESS
from twingateway_modbus.learned import Learned
from twingateway_modbus.plan import Block, Range, hole_between, split


class Answer(Enum):
    """What became of a request to read a block."""

    DATA = auto()
    REFUSED = auto()
    """For an address in it."""
    EXCEPTION = auto()
    """The device answered, but that says nothing of the addresses."""
    NOTHING = auto()
    """Nothing that could be believed."""

    @classmethod
    def of(cls, error: DeviceError) -> Answer:
        code = error.detail.get("exception")
        if code is None:
            return cls.NOTHING
        return cls.REFUSED if code in REFUSING_AN_ADDRESS else cls.EXCEPTION


async def bisect(block: Block, ask: Callable[[Block], Awaitable[Answer]], learned: Learned) -> bool:
    """`block` was refused for an address. Returns whether anything was learned from it."""
    if not block.is_divisible:
        for point in block.points:
            learned.add_alone(block.table, Range(point.address, point.end))
        return True
    halves = split(block)
    answers, has_learned = [], False
    for half in halves:
        answers.append(await ask(half))
        if answers[-1] is Answer.REFUSED:
            has_learned = await bisect(half, ask, learned) or has_learned
    if all(answer is Answer.DATA for answer in answers):
        learned.add_hole(block.table, hole_between(*halves))
        has_learned = True
    return has_learned
