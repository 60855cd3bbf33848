"""What the nodes had acknowledged, held against what the device and the cloud have: the audit of the kill loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

#: Seconds within which a node has to be ready.
READY = 5.0
#: A reading that the edge had for less, in seconds, may die with it: nobody was told that it is durable.
UNSURE = 0.25
#: Seconds after its end in which the device may still answer a question of the dead edge; no new one asks as early.
_BEQUEST = 0.3


@dataclass(slots=True)
class Result:
    """All the audit's figures; `faults` is empty when nothing was lost or done twice."""

    kills: dict[str, int] = field(default_factory=lambda: {"edge": 0, "cloud": 0})
    kills_before_ready: int = 0
    acknowledged: int = 0
    refused: int = 0
    written: int = 0
    counted: int = 0
    in_history: int = 0
    overrides_told: int = 0
    unsure: int = 0
    ready_max_s: float = 0.0
    ready_mean_s: float = 0.0
    settled_s: float | None = None
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evidence:
    """`acknowledged`: by property the numbers that an API said yes to, in order; `overridden`: which of those are
    overrides. `written`: (property, number) as the device got them. `handed`: when (monotonic seconds) the device
    answered with each count. `history`: how often the cloud has each count. `told`: how often the cloud's journal has
    each override. `gaps`: what it says that it will never be told. `edge_ends`: (killed, dead) of each edge."""

    acknowledged: Mapping[str, Sequence[int]]
    overridden: Sequence[str]
    written: Sequence[tuple[str, int]]
    handed: Mapping[int, float]
    history: Mapping[int, int]
    told: Mapping[tuple[str, int], int]
    gaps: Sequence[str]
    edge_ends: Sequence[tuple[float, float]]

    def unsure(self, count: int) -> bool:
        """Nobody was told that this count is safe before the edge died of which it was asked."""
        at = self.handed[count]
        return any(killed - UNSURE <= at <= ended + _BEQUEST for killed, ended in self.edge_ends)

    @property
    def missing(self) -> list[int]:
        return [count for count in self.handed if count not in self.history]


def faults(evidence: Evidence) -> list[str]:
    """All that was lost, done twice, or done in the wrong order, in words."""
    return [*_of_writes(evidence), *_of_overrides(evidence), *_of_history(evidence)]


def _of_writes(evidence: Evidence) -> Iterator[str]:
    for name, numbers in evidence.acknowledged.items():
        values = [value for written, value in evidence.written if written == name]
        if numbers and max(values, default=0) < numbers[-1]:
            yield f"{name}: {numbers[-1]} was acknowledged, the device got {max(values, default=None)} at last"
        yield from (f"{name}: {new} was written after {old}" for old, new in pairwise(values) if new < old)
    yield from _repeated("{} was written {} times", Counter(evidence.written))


def _of_overrides(evidence: Evidence) -> Iterator[str]:
    yield from _repeated("the override {} is in the journal {} times", evidence.told)
    for name in evidence.overridden:
        for number in evidence.acknowledged[name]:
            if (name, number) not in evidence.told:
                yield f"{name}: the override {number} was acknowledged, the journal does not have it"


def _of_history(evidence: Evidence) -> Iterator[str]:
    yield from _repeated("count {} is in history {} times", evidence.history)
    for count in evidence.missing:
        if not evidence.unsure(count):
            at = evidence.handed[count]
            after = at - max((ended for _, ended in evidence.edge_ends if ended <= at), default=0.0)
            yield f"count {count}, read {after:.2f} s after the edge was killed, is not in history"
    yield from (f"count {count} was never read" for count in evidence.history if count not in evidence.handed)
    yield from (f"the cloud misses entries: {gap}" for gap in evidence.gaps)


def _repeated(text: str, times: Mapping[Any, int]) -> Iterator[str]:
    yield from (text.format(what, count) for what, count in times.items() if count > 1)
