"""Which way to the parent: what to dial, when, and which link to give up. A pure plan; `uplink` carries it out.

A *way* is one parent's address over one transport; ways are ordered: the first parent's QUIC is the best, then its
TLS, then the second parent's QUIC, and so on. Rules:
- Without a session, a *round*: the first parent by QUIC, by TLS as well when nothing came of that in 1.9 s (or at
  once when it failed), the next parent when this one's ways failed or took 5 s. Dials go on side by side; the first
  that leads to a session ends the worse ones. After a round without success a pause, doubling, with jitter.
- A dial that nobody answered has been a pause itself (it asks again and again): it is followed by the next at once,
  and does not wait for the other ways of its round, so that there is no time in which nobody asks.
- A parent that has been silent for some seconds is asked often for a while (`knocking`).
- On any way but the best, the better ones are tried again after 30 s, then ever more seldom, up to 5 min.
- When told that the network changed (`hurry`), whatever was only waited for is done at once, what has been dialled in
  vain is dialled anew, and pauses begin anew.
- While the link says nothing (`quiet`) it is kept, and a round is begun beside it with less patience: whichever
  speaks first goes on. So an outage costs nothing, and a dead path or a server that forgot us little.
- A link is given up only when a newer one has proved itself (`settled`), and a moment after, so that what the parent
  sent there before it knew still arrives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Seconds that QUIC has before TLS is dialled as well; when the present link is quiet, it has had some already.
FALLBACK_AFTER = 1.9
RESCUE_AFTER = 0.9
#: Seconds that a parent has before the next one is dialled as well.
PARENT_PATIENCE = 5.0
#: Seconds between rounds: doubling from the first to the second, with jitter.
BACK_OFF = (0.5, 30.0)
#: How long a link must have lasted for the back-off to begin anew, in seconds.
STEADY = 10.0
#: Seconds until better ways are tried again: doubling from the first to the second, with jitter.
PROBE = (30.0, 300.0)
#: Seconds that an old link is kept after a newer one has proved itself.
GRACE = 1.0
#: A silent parent is asked often from the first to the second of these, in seconds since it was lost. Before, the old
#: link is as likely to speak again, and a parent that only restarts is not to find all its children at the door.
KNOCK = (4.0, 90.0)
#: The same after a change of the network, in seconds; a dial that has lasted longer than REDIAL begins anew then. A
#: modem may come and go all day, so of a parent lost longer ago than KNOCK only what is cheap is asked often.
KNOCK_ON_CHANGE = 10.0
REDIAL = 1.0


class Way(NamedTuple):
    """Lower is better. `transport`: index into the parent's transports, best first."""

    parent: int
    transport: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dial, and the link that came of it."""

    number: int
    way: Way


@dataclass(frozen=True, slots=True)
class Dial:
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Drop:
    """Stop dialling, or close the link."""

    attempt: Attempt


class Route:
    """`transports`: how many each parent has. `chance` gives numbers in 0 … 1; times are monotonic seconds."""

    def __init__(self, transports: Sequence[int], chance: Callable[[], float]) -> None:
        self._ways = [[Way(parent, index) for index in range(count)] for parent, count in enumerate(transports)]
        self._chance = chance
        self._count = 0
        self._planned: dict[Way, float] = {}
        self._dialling: dict[Way, Attempt] = {}
        self._open: dict[Attempt, float] = {}
        self._current: Attempt | None = None
        self._silent: set[Attempt] = set()
        """Open links on which the parent says nothing."""
        self._to_drop: dict[Attempt, float] = {}
        self._began: dict[Attempt, float] = {}
        self._knocking = (0.0, 0.0)
        self._knocking_dear = math.inf
        """From when on a change of the network is no reason to ask often at any price."""
        self._hurried_until = -math.inf
        self._round_at: float | None = 0.0
        self._pause = BACK_OFF[0]
        self._probe_at: float | None = None
        self._probe_pause = PROBE[0]

    @property
    def current(self) -> Attempt | None:
        """The link that the session uses."""
        return self._current

    @property
    def knocking(self) -> tuple[float, float]:
        """From when until when a parent that says nothing is to be asked often."""
        return self._knocking

    @property
    def hurried_until(self) -> float:
        """The same as far as it costs little, because the network has changed."""
        return self._hurried_until

    # --- what happened --------------------------------------------------------------------------------------------

    def opened(self, attempt: Attempt, now: float) -> None:
        """The dial led to a session."""
        if self._dialling.get(attempt.way) == attempt:
            del self._dialling[attempt.way], self._began[attempt]
        self._open[attempt] = now
        better = self._current is None or self._quiet or attempt.way < self._current.way
        if not better:
            self._to_drop[attempt] = now
            return
        self._current = attempt
        self._round_at = None
        self._probe_pause = PROBE[0]
        self._plan_probe(now)
        self._end_dials(lambda way: way >= attempt.way, now)
        self._planned.clear()

    def settled(self, attempt: Attempt, now: float) -> None:
        """The parent has answered our hello on this link."""
        if attempt == self._current:
            for other in self._open:
                if other != attempt:
                    self._to_drop.setdefault(other, now + GRACE)

    def failed(self, attempt: Attempt, now: float, *, answered: bool) -> None:
        """Nothing came of a dial. `answered`: the parent said no, so its other ways lead nowhere else."""
        self._to_drop.pop(attempt, None)
        if self._dialling.get(attempt.way) != attempt:
            return
        del self._dialling[attempt.way]
        began = self._began.pop(attempt)
        parent = attempt.way.parent
        if not answered and not self._is_served and now - began >= PARENT_PATIENCE:
            self._begin_round(now)
            return
        if answered:
            for way in self._ways[parent]:
                self._planned.pop(way, None)
        else:
            for way in self._ways[parent]:
                if way in self._planned:
                    self._planned[way] = now
                    break
        if not self._is_busy(parent) and not self._is_served:
            self._bring_forward(parent + 1, now)
        self._end_round(now)

    def closed(self, attempt: Attempt, now: float) -> None:
        """A link that was open has ended."""
        since = self._open.pop(attempt, now)
        was_heard = self._is_served
        self._to_drop.pop(attempt, None)
        self._silent.discard(attempt)
        if attempt != self._current:
            return
        if now - since > STEADY:
            self._pause = BACK_OFF[0]
        self._probe_at = None
        self._current = max(self._open, key=lambda other: other.number, default=None)
        if self._current is None:
            if was_heard:
                self._lose(now)
            self._end_round(now)
            return
        self._to_drop.pop(self._current, None)
        if not self._quiet:
            self._plan_probe(now)
        elif self._pause == BACK_OFF[0]:
            self._round_at, self._pause = now, 2 * self._pause
        else:
            self._end_round(now)  # it lets us in, and ends each link: it is not asked without a pause

    def quiet(self, attempt: Attempt, now: float) -> None:
        """The link is open and the parent says nothing."""
        known = attempt in self._silent
        self._silent.add(attempt)
        if attempt == self._current and not known:
            self._pause = BACK_OFF[0]
            self._round_at = now
            self._lose(now)

    def heard(self, attempt: Attempt, now: float) -> None:
        """The parent speaks again on a link that was quiet."""
        known = attempt in self._silent
        self._silent.discard(attempt)
        if attempt != self._current or not known:
            return
        self._round_at = None
        self._planned.clear()
        self._end_dials(lambda way: way >= attempt.way, now)
        self.hurry(now)

    def hurry(self, now: float) -> None:
        """The network has changed: ways may work now that did not, and there is no reason to wait any longer."""
        if self._probe_at is not None:
            self._probe_at = now
            self._probe_pause = PROBE[0]
        if self._round_at is not None:
            self._round_at = min(self._round_at, now)
            self._pause = BACK_OFF[0]
        if not self._is_served:
            self._hurried_until = now + KNOCK_ON_CHANGE
            if now < self._knocking_dear:
                self._knocking = now, max(self._hurried_until, self._knocking[1])
            for way, attempt in list(self._dialling.items()):
                if now - self._began[attempt] >= REDIAL:
                    self._end_dial(way, now)
                    self._planned[way] = now

    # --- what to do -----------------------------------------------------------------------------------------------

    def poll(self, now: float) -> list[Dial | Drop]:
        """What is due."""
        if self._round_at is not None and now >= self._round_at:
            self._begin_round(now)
        if self._probe_at is not None and now >= self._probe_at:
            self._begin_probe(now)
        actions: list[Dial | Drop] = [Drop(attempt) for attempt, at in self._to_drop.items() if now >= at]
        for drop in actions:
            del self._to_drop[drop.attempt]
        for way in sorted(way for way, at in self._planned.items() if now >= at):
            del self._planned[way]
            if way not in self._dialling:
                self._count += 1
                attempt = self._dialling[way] = Attempt(self._count, way)
                self._began[attempt] = now
                actions.append(Dial(attempt))
        return actions

    def next_deadline(self) -> float | None:
        """When to `poll`, at the latest."""
        times = [self._round_at, self._probe_at, *self._planned.values(), *self._to_drop.values()]
        return min((at for at in times if at is not None), default=None)

    # --- the plan -------------------------------------------------------------------------------------------------

    @property
    def _quiet(self) -> bool:
        return self._current in self._silent

    @property
    def _is_served(self) -> bool:
        return self._current is not None and not self._quiet

    def _is_busy(self, parent: int) -> bool:
        return any(way in self._dialling or way in self._planned for way in self._ways[parent])

    def _begin_round(self, now: float) -> None:
        self._round_at = None
        gap = FALLBACK_AFTER if self._current is None else RESCUE_AFTER
        for parent, ways in enumerate(self._ways):
            for way in ways:
                at = now + parent * PARENT_PATIENCE + way.transport * gap
                self._planned[way] = min(at, self._planned.get(way, at))

    def _bring_forward(self, parent: int, now: float) -> None:
        """The parent before has failed: begin with this one, and with those behind it in their turn."""
        waiting = [way for ways in self._ways[parent:] for way in ways if way in self._planned]
        if waiting:
            early = min(self._planned[way] for way in waiting) - now
            for way in waiting:
                self._planned[way] -= max(0.0, early)

    def _end_round(self, now: float) -> None:
        if self._is_served or self._planned or self._dialling or self._round_at is not None:
            return
        self._round_at = now + self._pause * (0.5 + self._chance() / 2)
        self._pause = min(self._pause * 2, BACK_OFF[1])

    def _better(self, than: Way) -> list[Way]:
        return [way for ways in self._ways for way in ways if way < than]

    def _plan_probe(self, now: float) -> None:
        self._probe_at = None
        if self._current is not None and self._better(self._current.way):
            self._probe_at = now + self._probe_pause * (0.75 + self._chance() / 4)

    def _begin_probe(self, now: float) -> None:
        assert self._current is not None
        for way in self._better(self._current.way):
            self._planned.setdefault(way, now + way.transport * FALLBACK_AFTER)
        self._probe_pause = min(self._probe_pause * 2, PROBE[1])
        self._plan_probe(now)

    def _end_dials(self, unwanted: Callable[[Way], bool], now: float) -> None:
        for way in list(self._dialling):
            if unwanted(way):
                self._end_dial(way, now)

    def _end_dial(self, way: Way, now: float) -> None:
        attempt = self._dialling.pop(way)
        del self._began[attempt]
        self._to_drop[attempt] = now

    def _lose(self, now: float) -> None:
        """The parent is not heard any more."""
        self._knocking = now + KNOCK[0], now + KNOCK[1]
        self._knocking_dear = now + KNOCK[1]
