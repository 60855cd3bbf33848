"""Kills real nodes at random moments, again and again under load, and audits everything they had acknowledged.

    python -m interop.killer --kills 200 --side both

An edge whose device counts and remembers, and a cloud. The load are reported values with history, desired values
set at the cloud, and overrides set at the edge. Each side lives and dies by itself, so that both may be dead at once;
some are killed again before they are ready. With `--moment commit` they are killed just when they write to their
store, owe an answer, or have told the device to write. At the end:

- every desired value and override that an API acknowledged was written to the device, or a later one of its property
  was; every such override is in the cloud's journal exactly once;
- nothing was written to the device twice, nothing after a newer value of its property;
- every reported count is in the cloud's history exactly once; or none at all if the edge was killed within a quarter
  of a second of reading it, or dead already when the device answered (what is not read is acknowledged to nobody);
- the cloud shows what the device has, and each start was ready within 5 s.

Ctrl-C ends the killing, not the audit. Ends with status 1 if anything was lost, 130 if it was cut short.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2

from interop.command import STOPPED, new_parser, run, tell
from interop.counting import OVERRIDDEN, Witness
from interop.kill_audit import READY, Evidence, Result, faults
from interop.kill_site import SIDES, Load, Site, is_ready
from interop.processes import Processes, Running

_EPILOG = """\
examples:
  python -m interop.killer --kills 40 --side edge
  python -m interop.killer --kills 40 --moment commit --seed 11 --keep-logs logs
"""

_SETTLE = 60.0
#: Of all starts, the share that is killed before it is ready.
_TOO_EARLY = 0.15
#: Seconds at most between a moment of interest and the kill.
_THEREABOUTS = 0.005
_PROGRESS = 10


class Killing:
    """Kills and starts the nodes until it has killed often enough or is told to stop."""

    def __init__(self, options: argparse.Namespace, site: Site, load: Load, witness: Witness, result: Result) -> None:
        self._options = options
        self._site = site
        self._load = load
        self._witness = witness
        self._result = result
        self._chance = random.Random(options.seed)
        self._left: int = options.kills
        self._began = time.monotonic()
        self._stop = asyncio.Event()
        self.readiness: list[float] = []
        self.edge_ends: list[tuple[float, float]] = []

    @property
    def cut_short(self) -> bool:
        return self._left > 0

    def stop(self) -> None:
        """All nodes that are dead are still started."""
        self._stop.set()

    async def run(self, running: dict[str, Running]) -> None:
        sides = SIDES if self._options.side == "both" else (self._options.side,)
        async with asyncio.TaskGroup() as group:
            for side in sides:
                group.create_task(self._kill_again_and_again(side, running[side]))

    async def _kill_again_and_again(self, side: str, running: Running) -> None:
        while await self._goes_on(self._moment(side)) and self._left:
            self._left -= 1
            running = await self._kill(side, running)
            began = time.monotonic()
            early = self._chance.random() < _TOO_EARLY and bool(self.readiness)
            if early and await self._goes_on(self._within(max(self.readiness[-8:]))) and self._left:
                if not is_ready(running):
                    self._result.kills_before_ready += 1
                self._left -= 1
                running = await self._kill(side, running)
                began = time.monotonic()
            while not is_ready(running):
                running.require_running()
                await asyncio.sleep(0.01)
            self.readiness.append(time.monotonic() - began)

    async def _kill(self, side: str, running: Running) -> Running:
        """Kill it → the next one, which is not ready yet."""
        running.require_running()
        running.kill()
        killed = time.monotonic()
        await running.end()
        if side == "edge":
            self.edge_ends.append((killed, time.monotonic()))
        self._result.kills[side] += 1
        self._progress()
        return await self._site.begin(side)

    async def _moment(self, side: str) -> None:
        await asyncio.sleep(self._chance.uniform(0.05, self._options.pause))
        if self._options.moment == "commit":
            witnessed: list[Callable[[], Awaitable[object]]] = [
                self._load.asking[side].wait,
                lambda: self._site.until_committing(side),
            ]
            if side == "edge":
                witnessed.append(self._witness.writing.wait)
            with suppress(TimeoutError):  # nothing of the kind happens while the other side is dead
                await asyncio.wait_for(self._chance.choice(witnessed)(), 1.0)
            await self._within(_THEREABOUTS)

    async def _within(self, longest: float) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, longest))

    async def _goes_on(self, moment: Awaitable[None]) -> bool:
        """Wait for the moment; False if it was told to stop before."""
        waiting = [asyncio.ensure_future(moment), asyncio.create_task(self._stop.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return not self._stop.is_set()

    def _progress(self) -> None:
        done = sum(self._result.kills.values())
        if done % _PROGRESS == 0:
            passed = time.monotonic() - self._began
            tell(
                f"{done} of {self._options.kills} kills, {self._load.count} acknowledged, "
                f"{len(self._witness.written)} written, {len(self._witness.handed)} counted; "
                f"{passed:.0f} s, {passed * self._left / done:.0f} s to go"
            )


async def measure(options: argparse.Namespace) -> tuple[Result, bool]:
    """(the figures, whether it was cut short)."""
    began, result, witness = time.monotonic(), Result(), Witness()
    with tempfile.TemporaryDirectory(prefix="killer-") as temporary:
        folder = Path(temporary)
        async with Processes(folder) as processes, httpx2.AsyncClient(trust_env=False, timeout=2) as client:
            site = Site(processes, folder)
            server = await witness.serve(site.device)
            running = {side: await site.begin(side) for side in SIDES}
            await _until_settled(client, site.twin)
            load = Load(client, site)
            loading = asyncio.create_task(load.run())
            killing = Killing(options, site, load, witness, result)
            with _stopped_by_signals(killing):
                await killing.run(running)
            loading.cancel()
            counted = len(witness.handed)
            while len(witness.handed) < counted + 5:
                await asyncio.sleep(0.02)  # what a started edge reads first it reports even if it is no news
            witness.counting = False
            result.settled_s = await _until_settled(client, site.twin, load, witness)
            evidence = await _evidence(client, site, load, witness, killing)
            _judge(result, evidence, load, killing.readiness)
            server.close()
            if result.faults and options.keep_logs:
                site.copy_logs(options.keep_logs)
    result.seconds = round(time.monotonic() - began, 1)
    return result, killing.cut_short


@contextmanager
def _stopped_by_signals(killing: Killing) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) stops the killing; a second one is what it always was."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
        tell("no more kills; the audit follows")
        killing.stop()

    for number in numbers:
        loop.add_signal_handler(number, stop)
    yield
    for number in numbers:
        loop.remove_signal_handler(number)


async def _until_settled(
    client: httpx2.AsyncClient, url: str, load: Load | None = None, witness: Witness | None = None
) -> float | None:
    """Until the twin is there, every desired value is applied and the device has it: seconds, None if it never is."""
    began = time.monotonic()
    while time.monotonic() < began + _SETTLE:
        with suppress(httpx2.HTTPError):
            answer = await client.get(url)
            if answer.status_code == 200 and _is_settled(answer.json(), load, witness):
                return round(time.monotonic() - began, 2)
        await asyncio.sleep(0.1)
    return None


def _is_settled(twin: Any, load: Load | None, witness: Witness | None) -> bool:
    wanted, reported = twin["spec"]["desiredProperties"], twin["spec"]["reportedProperties"]
    if load is None or witness is None:
        return "count" in reported
    shown = twin["status"]["properties"]["desired"]
    return (
        all(name in wanted for name, numbers in load.acknowledged.items() if numbers)
        and all((shown[name].get("ack") or {}).get("state") == "applied" for name in wanted)
        and wanted == {name: witness.values[name] for name in wanted}
        and reported["count"] == len(witness.handed)
    )


async def _evidence(
    client: httpx2.AsyncClient, site: Site, load: Load, witness: Witness, killing: Killing
) -> Evidence:
    cloud = site.urls["cloud"]
    told = [item async for item in _items(client, f"{cloud}/journal/event", after=0)]
    gaps = [item for item in told if "gap" in item]
    gaps += [item async for item in _items(client, f"{cloud}/journal/history", after=0)]
    overrides = Counter(_override(item) for item in told if item.get("name") == "override")
    return Evidence(
        acknowledged=load.acknowledged,
        overridden=OVERRIDDEN,
        written=witness.written,
        handed=witness.handed,
        history=await _history(client, site.twin, len(witness.handed)),
        told=overrides,
        gaps=[str(gap) for gap in gaps],
        edge_ends=killing.edge_ends,
    )


def _override(item: Any) -> tuple[str, int]:
    return item["value"]["property"], item["value"]["value"]


async def _history(client: httpx2.AsyncClient, url: str, last: int) -> Counter[int]:
    """How often each count is there, once the last one is (or patience is at its end)."""
    found: Counter[int] = Counter()
    for _ in range(60):
        params = {"property": "count", "from": 0}
        found = Counter([item["value"] async for item in _items(client, f"{url}/history", **params)])
        if last in found:
            break
        await asyncio.sleep(0.5)
    return found


async def _items(client: httpx2.AsyncClient, url: str, **params: Any) -> AsyncIterator[Any]:
    """Of all pages."""
    params["limit"] = 10_000
    while True:
        page = (await client.get(url, params=params)).raise_for_status().json()
        for item in page["items"]:
            yield item
        if page["nextAfter"] is None:
            return
        params["after"] = page["nextAfter"]


def _judge(result: Result, evidence: Evidence, load: Load, readiness: list[float]) -> None:
    result.acknowledged, result.refused = load.count, load.refused
    result.written, result.counted = len(evidence.written), len(evidence.handed)
    result.in_history, result.overrides_told = len(evidence.history), len(evidence.told)
    result.unsure = sum(evidence.unsure(count) for count in evidence.missing)
    result.faults = faults(evidence)
    if result.settled_s is None:
        result.faults.append(f"not settled {_SETTLE:g} s after the last kill")
    if readiness:
        result.ready_max_s = round(max(readiness), 2)
        result.ready_mean_s = round(sum(readiness) / len(readiness), 2)
    if result.ready_max_s >= READY:
        result.faults.append(f"ready only after {result.ready_max_s} s")


def main() -> None:
    parser = new_parser("killer", __doc__, epilog=_EPILOG)
    parser.add_argument("--kills", type=int, default=200, help="in all (200)")
    parser.add_argument("--side", choices=(*SIDES, "both"), default="both", help="which nodes are killed (both)")
    parser.add_argument("--moment", choices=("any", "commit"), default="any", help="when to kill (any)")
    parser.add_argument("--pause", type=float, default=2.0, help="most seconds between two kills of a side (2)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1 << 30), help="of the moments; told at the end (a new one)"
    )
    parser.add_argument("--json", action="store_true", help="the last line is an object with all figures")
    parser.add_argument(
        "--keep-logs", type=Path, help="copy the nodes' logs into this folder when something was lost"
    )
    run(_main(parser.parse_args()))


async def _main(options: argparse.Namespace) -> int:
    result, cut_short = await measure(options)
    if options.json:
        print(json.dumps({"seed": options.seed, **asdict(result)}))
    else:
        for name, value in {"seed": options.seed, **asdict(result)}.items():
            print(f"{name:20}{value}")
    return 1 if result.faults else STOPPED if cut_short else 0


if __name__ == "__main__":
    main()
