"""A day without a link, with whole nodes in virtual time: what is kept meanwhile, and what the way back costs.

    python -m tests.simulation.long_outage            (two minutes)
    python -m tests.simulation.long_outage --whole    (an hour)

A root and an edge with 500 devices, all with history; the link is gone for 24 hours and then is there again. 1,000
updates a second are made in bursts: in the first and the last minute of the outage, in ten seconds of every hour, and
from its end on for three minutes; in between each device changes every two minutes. So of the day's 86.4 million
updates one in 120 is made, and the history that waits has a cap 120 times smaller: what is left out would have
been superseded, as state, and evicted, as history. No update is coalesced before the gateway has it.

With `--whole` all of them are made: each device has two properties and says both once a second, for 24 hours. Only
the cap of the history that waits is a sixteenth of a node's, 64 MiB, since it is held in this process's memory.
Ctrl-C ends the outage with the hour that is being played.

The link carries 1 Mbit/s of state, 50 ms one way; the journal does not compete with it for bytes here, and CPU time
does not pass in virtual time (for both see the real `interop.long_outage`). Stores are in memory, and bounded by the
caps like a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import resource
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from operator import ge

import structlog

from tests.simulation.virtual_time import run
from tests.simulation.world import SimulatedClock
from twingateway.cli.run import GC_THRESHOLDS
from twingateway.gateway.peering.journal_relay import UPKEEP
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.link.quic_client import DIAL_TIMEOUT
from twingateway.ports.memory_journal import MemoryQueue
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.entry import CLASSES, EVICTED, HISTORY, JournalClass
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, StoredRegister

#: Seconds between two handfuls of updates in a burst, and between two looks at what is held.
TICK, LOOK = 0.01, 10.0
#: Bytes of an entry; between two rounds of upkeep a queue may grow beyond its cap.
ENTRY = 100
#: Seconds within which state has to be equal again, and within which live changes have to be seen (p99).
CONVERGED, LIVE = 2.0, 1.0
#: What memory may grow by, MiB.
GROWTH = 64.0
#: Seconds, as they pass for who waits, between two lines of progress.
PROGRESS_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`hours`, of `hour` seconds each: the outage. `rate`: updates a second in bursts. `ends`: seconds of the first
    burst, and of one more at the end; `burst`: of each hour's. `pause`: seconds between two updates of a device
    otherwise. `after`: seconds at full rate in the end. `cap`: bytes of history that may wait. `tick`: seconds
    between two handfuls of updates during the outage. `properties`: of each device, which says them all at once."""

    devices: int = 500
    properties: int = 1
    hours: int = 24
    hour: float = 3600.0
    rate: float = 1000.0
    ends: float = 60.0
    burst: float = 10.0
    pause: float = 120.0
    after: float = 180.0
    cap: int = CLASSES[HISTORY].max_bytes // 120
    tick: float = TICK

    @property
    def outage(self) -> float:
        """Seconds."""
        return self.hours * self.hour + self.ends


#: Every update of a day is made.
WHOLE = Plan(properties=2, ends=0.0, burst=Plan().hour, cap=CLASSES[HISTORY].max_bytes // 16, tick=0.5)


@dataclass(slots=True)
class Outcome:
    """`hours`: that the outage lasted. `most_*`: the greatest that was seen during it. `growth_mib`: of this whole
    process, from when a quarter of the planned outage is over, and the journal at its cap, to the outage's end.
    `faults`: what should not be."""

    hours: int = 0
    updates: int = 0
    made_in_outage: int = 0
    most_waiting_registers: int = 0
    most_journal_bytes: int = 0
    journal_cap: int = 0
    evicted: int = 0
    in_history: int = 0
    gap_records: int = 0
    in_gaps: int = 0
    converged_s: float | None = None
    drained_s: float | None = None
    live_p99_ms: float = 0.0
    live_max_ms: float = 0.0
    growth_mib: float = 0.0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)


class Devices:
    """All devices of the edge, which say ever higher numbers in turn, and when the root shows them.

    An update is seen when it or a later one of its property is."""

    def __init__(self, edge: MemoryNode, count: int, properties: int) -> None:
        self.names = [f"v{n}" for n in range(properties)]
        self._machines = [FakeMachine(dict.fromkeys(self.names, 0)) for _ in range(count)]
        edge.machines.update({f"d{n}": machine for n, machine in enumerate(self._machines)})
        self.made = 0
        self.awaited = True
        """Whether it is noted when each update is made, and seen."""
        self.delays: list[float] = []
        """Seconds of every update that was seen."""
        self._waiting: dict[tuple[str, str], deque[tuple[int, float]]] = defaultdict(deque)

    def say(self) -> None:
        """One device says all of its properties."""
        names = self.names
        self.made += len(names)
        device = self.made // len(names) % len(self._machines)
        self._machines[device].say(**dict.fromkeys(names, self.made))
        if self.awaited:
            for name in names:
                self._waiting[f"d{device}", name].append((self.made, _now()))

    def shown(self, stored: StoredRegister) -> None:
        number = stored.register.value
        waiting = self._waiting[stored.register.key.device.name, stored.register.key.name]
        while waiting and isinstance(number, int) and waiting[0][0] <= number:
            self.delays.append(_now() - waiting.popleft()[1])

    def await_from_now_on(self) -> None:
        """Nobody waits for anything that was made before."""
        self.awaited = True
        for waiting in self._waiting.values():
            waiting.clear()
        self.delays.clear()

    @property
    def unseen(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def at_rate(self, rate: float, seconds: float, tick: float = TICK) -> None:
        end, owed = _now() + seconds, 0.0
        while _now() < end - tick / 2:
            owed += rate * tick
            while owed >= len(self.names):
                owed -= len(self.names)
                self.say()
            await asyncio.sleep(tick)


class Progress:
    """How far a run is that began at `now`, in lines for who waits for it. Times are monotonic seconds."""

    def __init__(self, plan: Plan, now: float) -> None:
        self._plan = plan
        self._began = self._told_at = now
        self._made_before = 0

    def line(self, passed: float, made: int, now: float) -> str | None:
        """If it is time for one. `passed`: seconds of the outage; `made`: updates so far."""
        since = now - self._told_at
        if since < PROGRESS_EVERY or not passed:
            return None
        rate = (made - self._made_before) / since
        left = (now - self._began) * (self._plan.outage / passed - 1)
        self._told_at, self._made_before = now, made
        return (
            f"{_clock(passed)} of {_clock(self._plan.outage)}, {made:,} updates, {rate:,.0f}/s, {_clock(left)} left, "
            f"{_memory():.0f} MiB"
        )


class Play:
    """Both nodes, the outage, and what is seen of it."""

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        """`tell` is given lines of progress."""
        self.plan = plan
        self._tell = tell
        self.is_long_enough = False
        """The outage is to end with the present hour."""
        self.outcome = Outcome(journal_cap=plan.cap)
        self.cloud = MemoryNode("cloud", clock=SimulatedClock())
        self.edge = MemoryNode("edge", clock=SimulatedClock())
        history = CLASSES[HISTORY]
        classes = {**CLASSES, HISTORY: JournalClass(HISTORY, history.priority, history.ttl, plan.cap, history.linger)}
        self.edge.journal = JournalPolicy(classes, WithHistory.ALL)
        self.cloud.journal = JournalPolicy(history=WithHistory.ALL, serves=True)
        self.edge.path.delay = 0.05
        self.edge.path.dial_timeout = DIAL_TIMEOUT  # like a dial over QUIC
        self.devices = Devices(self.edge, plan.devices, plan.properties)

    async def run(self) -> Outcome:
        async with self.cloud.running(), self.edge.running(self.cloud):
            await until(lambda: all(map(self.edge.gateway.ownership.held, self._ids)), 60.0)
            self.cloud.gateway.ledger.watch(self.devices.shown, Section.REPORTED)
            await self.devices.at_rate(self.plan.rate, 5.0)
            self.edge.path.cut = True
            self.devices.awaited, before = False, self.devices.made
            await self._outage()
            self.outcome.made_in_outage = self.devices.made - before
            self.edge.path.cut = False
            await self._way_back()
        self._judge()
        return self.outcome

    async def _outage(self) -> None:
        plan, watching, memory = self.plan, asyncio.create_task(self._watch()), _memory()
        for hour in range(plan.hours):
            if hour == plan.hours // 4:
                memory = _memory()
            burst = plan.burst if hour else max(plan.burst, plan.ends)
            await self.devices.at_rate(plan.rate, burst, plan.tick)
            await self._now_and_then(plan.hour - burst)
            self.outcome.hours += 1
            if self.is_long_enough:
                break
        await self.devices.at_rate(plan.rate, plan.ends, plan.tick)
        watching.cancel()
        self.outcome.growth_mib = round(_memory() - memory, 1)

    async def _now_and_then(self, seconds: float) -> None:
        for _ in range(int(seconds / self.plan.pause)):
            for _ in range(self.plan.devices):
                self.devices.say()
            await asyncio.sleep(self.plan.pause)

    async def _watch(self) -> None:
        outcome, began = self.outcome, _now()
        progress = Progress(self.plan, time.monotonic())
        while True:
            line = progress.line(_now() - began, self.devices.made, time.monotonic())
            if line:
                self._tell(line)
            outcome.most_waiting_registers = max(outcome.most_waiting_registers, self._outbox)
            outcome.most_journal_bytes = max(outcome.most_journal_bytes, self._queue.bytes)
            await asyncio.sleep(LOOK)

    async def _way_back(self) -> None:
        outcome, back = self.outcome, _now()
        saying = asyncio.create_task(self.devices.at_rate(self.plan.rate, self.plan.after))
        drained = asyncio.create_task(self._drained(back))
        last = self._values(self.edge)
        while _now() < back + CONVERGED:
            if outcome.converged_s is None and self._shows(last):
                outcome.converged_s = round(_now() - back, 2)
            await asyncio.sleep(TICK)
        self.devices.await_from_now_on()
        await saying
        await drained
        await asyncio.sleep(1.0)
        delays = sorted(self.devices.delays)
        outcome.live_p99_ms = round(delays[int(0.99 * len(delays))] * 1000, 1)
        outcome.live_max_ms = round(delays[-1] * 1000, 1)

    async def _drained(self, back: float) -> None:
        """Until nothing is left of what waited when the link came back."""
        last = self._queue.last_position
        while next(iter(self._queue.waiting), last + 1) <= last:
            await asyncio.sleep(0.1)
        self.outcome.drained_s = round(_now() - back, 1)

    @property
    def _ids(self) -> list[DeviceId]:
        return [DeviceId("default", name) for name in self.edge.machines]

    @property
    def _queue(self) -> MemoryQueue:
        return self.edge.disk.journal.queues[HISTORY]

    @property
    def _outbox(self) -> int:
        """Registers that wait for the parent."""
        parent = self.edge.gateway.peers.parent
        return 0 if parent is None else len(parent.session.outbox)

    def _values(self, node: MemoryNode) -> list[int]:
        table, names = node.gateway.table, self.devices.names
        return [table.value(device, Section.REPORTED, name) for device in self._ids for name in names]  # type: ignore[misc]

    def _shows(self, last: list[int]) -> bool:
        """Whether the root shows all of these, or what came later."""
        return all(map(ge, self._values(self.cloud), last))

    def _judge(self) -> None:
        outcome, plan = self.outcome, self.plan
        journal = self.cloud.disk.journal
        outcome.updates = self.devices.made
        outcome.in_history = sum(map(len, journal.history.values()))
        gaps = [placed.entry for placed in journal.kept.get(HISTORY, [])]
        outcome.gap_records, outcome.in_gaps = len(gaps), sum(entry.count for entry in gaps)
        outcome.evicted = self.edge.gateway.relay.evicted.get(HISTORY, 0)
        registers = sum(1 for _ in self.edge.gateway.table.registers())
        checks = {
            "more registers wait than there are": outcome.most_waiting_registers > registers,
            "the journal outgrew its cap": outcome.most_journal_bytes > plan.cap + UPKEEP * plan.rate * ENTRY,
            "nothing was evicted: the cap was not met": not outcome.evicted,
            "a gap has another reason": any(entry.gap != EVICTED for entry in gaps),
            "history and gaps are not all there was": outcome.in_history + outcome.in_gaps
            # each device said first values, too, and was good from then on
            != outcome.updates + (plan.properties + 1) * plan.devices,
            "state was not equal in time": outcome.converged_s is None or outcome.converged_s > CONVERGED,
            "an update was not seen": bool(self.devices.unseen),
            "live changes were late": outcome.live_p99_ms > LIVE * 1000,
            "memory grew": outcome.growth_mib >= GROWTH,
        }
        outcome.faults = [fault for fault, is_so in checks.items() if is_so]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _clock(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))


def _memory() -> float:
    """The most that this process has had in memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def simulate(plan: Plan, tell: Callable[[str], None] = lambda line: None) -> Outcome:
    began = time.perf_counter()
    random.seed(1)
    play = Play(plan, tell)
    before = signal.signal(signal.SIGINT, lambda number, frame: setattr(play, "is_long_enough", True))
    try:
        outcome = run(play.run())
    finally:
        signal.signal(signal.SIGINT, before)
    outcome.took_s = round(time.perf_counter() - began, 1)
    return outcome


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.long_outage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=int, default=24, help="(24)")
    parser.add_argument("--whole", action="store_true", help="make every update of the day")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.set_threshold(*GC_THRESHOLDS)  # like a node's process
    plan = replace(WHOLE if options.whole else Plan(), hours=options.hours)
    outcome = simulate(plan, tell=_to_stderr)
    sys.stdout.write(json.dumps(asdict(outcome), indent=2) + "\n")
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
