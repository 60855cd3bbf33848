"""Carries out the route's plan: dials the parent, keeps what comes of it, and drops what is no longer wanted.

What a connection is for its carrier knows; here it only counts whether it leads to a session, and whether it is heard
of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import structlog

from twingateway.errors import LinkError, NotAuthorized
from twingateway.gateway.peering.route import Attempt, Dial, Drop, Route, Way
from twingateway.ports.link import Dialer, Knocking, LinkHandler

log = structlog.get_logger("uplink")

#: What the parent is told of a link that is not wanted any more.
TAKEN_OVER = "another connection took over"
#: Seconds after which it is told again that a way to the parent fails as it did before; and of how many kinds of
#: failure that is known.
TELL_AGAIN = 3600.0
MOST_TOLD = 64


@dataclass(frozen=True, slots=True)
class Parent:
    """One address of the parent, and how to dial it: the best transport first."""

    url: str
    dialers: tuple[Dialer, ...]


class Bearing(NamedTuple):
    """How a parent that does not answer may be asked: again after `every` seconds; `rings`: by small packets too."""

    every: float
    rings: bool


class DialledCarrier(LinkHandler, Protocol):
    """The handler of one connection to a parent. `opened`: it led to a session; `quiet`: nothing is heard on it."""

    attempt: Attempt
    url: str
    opened: bool
    quiet: bool

    def close(self, reason: str) -> None: ...
    def give_way(self) -> None:
        """Another connection took over."""
        ...


class Dialling(ABC):
    """Dials for as long as `run` is not cancelled. `chance` gives numbers in 0 … 1."""

    def __init__(self, parents: Sequence[Parent], chance: Callable[[], float]) -> None:
        self._parents = parents
        self._chance = chance
        self._route = self._new_route()
        self._dials: dict[Attempt, asyncio.Task[None]] = {}
        self._carriers: dict[Attempt, DialledCarrier] = {}
        self._told: dict[tuple[Way, str], float] = {}
        """When it was told last, since there was a session, that a way fails for a reason."""
        self._news = asyncio.Event()

    @abstractmethod
    def carrier(self, attempt: Attempt, url: str) -> DialledCarrier:
        """The handler for a connection that is about to be dialled."""

    def bears(self, attempt: Attempt) -> Bearing | None:
        """What the parent has said of how it may be asked while it does not answer; None if that is unknown."""
        return None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._news.clear()
                now = loop.time()
                for action in self._route.poll(now):
                    _ACTIONS[type(action)](self, action)
                due = self._route.next_deadline()
                waiting = None if due is None else max(0.0, due - loop.time())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(waiting):
                        await self._news.wait()
        finally:
            for dial in self._dials.values():
                dial.cancel()
            for carrier in self._carriers.values():
                carrier.close("the node stops")
            self._dials.clear()
            self._carriers.clear()
            self._route = self._new_route()

    def hurry(self) -> None:
        """The network has changed: what was put off may work now."""
        self._tell(lambda route, now: route.hurry(now))

    # --- the plan's wishes ----------------------------------------------------------------------------------------

    def _new_route(self) -> Route:
        return Route([len(parent.dialers) for parent in self._parents], self._chance)

    def _dial(self, action: Dial) -> None:
        attempt = action.attempt
        task = asyncio.get_running_loop().create_task(self._try(attempt), name=f"dial {attempt.number}")
        self._dials[attempt] = task
        task.add_done_callback(lambda _: self._dials.pop(attempt, None))

    async def _try(self, attempt: Attempt) -> None:
        parent = self._parents[attempt.way.parent]
        carrier = self.carrier(attempt, parent.url)
        try:
            await parent.dialers[attempt.way.transport].dial(carrier, self._knocking(attempt))
        except LinkError as error:
            self.ended(carrier, error)
        except Exception as problem:
            log.exception("dialling failed", parent=parent.url)
            self.ended(carrier, LinkError(f"dialling {parent.url} failed: {problem!r}"))

    def _knocking(self, attempt: Attempt) -> Knocking | None:
        borne = self.bears(attempt)
        if borne is None:
            return None
        (begin, end), hurried = self._route.knocking, self._route.hurried_until
        return Knocking(borne.every, begin, end if borne.rings else max(end, hurried), borne.rings, hurried)

    def _drop(self, action: Drop) -> None:
        dial = self._dials.pop(action.attempt, None)
        if dial is not None:
            dial.cancel()
        carrier = self._carriers.get(action.attempt)
        if carrier is not None:
            carrier.give_way()

    # --- what carriers report -------------------------------------------------------------------------------------

    def dialled(self, carrier: DialledCarrier) -> None:
        self._carriers[carrier.attempt] = carrier

    def opened(self, carrier: DialledCarrier) -> None:
        """The parent let us in."""
        self._told.clear()
        self._tell(lambda route, now: route.opened(carrier.attempt, now))

    def settled(self, carrier: DialledCarrier) -> None:
        self._tell(lambda route, now: route.settled(carrier.attempt, now))

    def turned(self, carrier: DialledCarrier) -> None:
        if carrier.quiet:
            log.info("the parent says nothing; looking for another way", parent=carrier.url)
            self._tell(lambda route, now: route.quiet(carrier.attempt, now))
        else:
            self._tell(lambda route, now: route.heard(carrier.attempt, now))

    def ended(self, carrier: DialledCarrier, error: LinkError | None) -> None:
        self._carriers.pop(carrier.attempt, None)
        if error is not None:
            level = logging.WARNING if self._is_news(carrier.attempt.way, error.message) else logging.DEBUG
            log.log(level, "no link to the parent", parent=carrier.url, reason=error.message, code=error.code)
        if carrier.opened:
            self._tell(lambda route, now: route.closed(carrier.attempt, now))
        else:
            answered = isinstance(error, NotAuthorized)
            self._tell(lambda route, now: route.failed(carrier.attempt, now, answered=answered))

    def _is_news(self, way: Way, reason: str) -> bool:
        """Whether a person is to read of this failure: a day without a link has thousands that are alike."""
        now = asyncio.get_running_loop().time()
        if now < self._told.get((way, reason), -math.inf) + TELL_AGAIN:
            return False
        if len(self._told) >= MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._told.pop((way, reason), None)
        self._told[way, reason] = now
        return True

    def _tell(self, what: Callable[[Route, float], None]) -> None:
        what(self._route, asyncio.get_running_loop().time())
        self._news.set()


_ACTIONS: dict[type, Callable[[Dialling, Any], None]] = {Dial: Dialling._dial, Drop: Dialling._drop}
