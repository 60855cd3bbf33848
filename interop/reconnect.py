"""How soon the first update arrives once the way is free again.

    python -m interop.reconnect --outage 30s

Four things are tried, updates going on all the while: an outage that the connection survives; the edge's address
changes under a live connection; a NAT on the way forgets the connection's port; an outage that outlives the
connection, so that a new one is needed. After an outage the first new value counts that an observer at the cloud
sees, from the moment the link is up; after a change of address or port the first that was made after it. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from interop.chart import Axis, Mark, linear, save_lines
from interop.command import new_parser, run, tell
from interop.contenders import observe
from interop.control import aside, ask
from interop.freshness import wait_until_seen
from interop.link import EmulatedLink, add_options, conditions_of
from interop.nodes import API_PORT, Nodes
from interop.processes import Processes
from interop.quantities import seconds
from interop.workload import read_sightings, read_times

_EPILOG = """\
examples:
  python -m interop.reconnect --outage 30s --long-outage 0 --runs 3 --json
  python -m interop.reconnect --outage 0 --long-outage 62s --times 4
  python -m interop.reconnect --outage 0 --long-outage 5m       (the parent is rung at by then, see mqtt/AUTH.md)
"""

_STEADY = 5.0
#: What the chart calls each figure.
_SHOWN = {
    "first_update_ms": "after the outage",
    "address_change_ms": "new address",
    "nat_rebinding_ms": "new port (NAT)",
    "new_connection_ms": "new connection",
}
#: So far apart, in runs, the dots of one run stand.
_ASIDE = 0.12
#: What may be needed beyond half a round trip on a live connection, and one and a half on a new one, in ms.
_ALLOWED = 100.0
_PRIME_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """`first_update_ms`: after the outage; `new_connection_ms`: the median of `new_connections_ms`; `rtt_ms`: of the
    path, twice its delay. None: never, or not measured."""

    first_update_ms: float | None
    address_change_ms: float | None
    new_connection_ms: float | None
    rtt_ms: float
    new_connections_ms: tuple[float | None, ...] = ()
    nat_rebinding_ms: float | None = None


class Measurement:
    """The product on a link, and when what was seen."""

    def __init__(self, options: argparse.Namespace, folder: Path, link: EmulatedLink, processes: Processes) -> None:
        self._options = options
        self._folder = folder
        self._link = link
        self._nodes = Nodes(
            processes,
            folder,
            devices=options.devices,
            cloud_address=link.cloud_address,
            inside_edge=link.inside("edge"),
            inside_cloud=link.inside("cloud"),
            early_data=options.early_data,
        )
        self._processes = processes
        self._observer = Path()
        self._sent: list[float] = []
        self._first = 1
        self._chance = random.Random(f"{options.seed}/outages")

    async def run(self) -> Result:
        await self._nodes.start_one("cloud")
        devices = self._options.devices
        self._observer = await observe(self._processes, self._folder, self._link, "events", API_PORT, devices)
        await self._nodes.start_one("edge")
        self._first = (await ask(self._nodes.generator_socket, "prime"))["last"] + 1
        await wait_until_seen(self._observer, self._first - 1, _PRIME_PATIENCE)
        live = await self._live() if self._options.outage else (None, None, None)
        fresh = [await self._afresh() for _ in range(self._options.times if self._options.long_outage else 0)]
        outage, change, rebinding = live
        return Result(outage, change, _median(fresh), self._options.delay * 2000, tuple(fresh), rebinding)

    async def _live(self) -> tuple[float | None, float | None, float | None]:
        """After an outage, a change of address and a rebinding, on the same connection."""
        options = self._options
        tell(f"an outage of {options.outage:g} s, then another address, then another port")
        updates = aside(self._updates(_STEADY + options.outage + 3 * _STEADY))
        await asyncio.sleep(_STEADY)
        self._link.conditions.down = True
        await asyncio.sleep(options.outage)
        self._link.conditions.down = False
        back = time.monotonic()
        await asyncio.sleep(_STEADY)
        self._link.change_edge_address()
        changed = time.monotonic()
        await asyncio.sleep(_STEADY)
        self._link.rebind()
        rebound = time.monotonic()
        await updates
        seen = await self._seen()
        moved, renumbered = (
            _since(event, [at for n, at in seen if self._made(n) >= event]) for event in (changed, rebound)
        )
        return _since(back, [at for _, at in seen]), moved, renumbered

    async def _updates(self, lasts: float) -> None:
        record = self._folder / "sent"
        rate = self._options.rate
        await ask(
            self._nodes.generator_socket, "run", patience=lasts + 60, rate=rate, seconds=lasts, record=str(record)
        )
        self._sent = list(read_times(record))

    async def _seen(self) -> list[tuple[int, float]]:
        record = self._folder / "seen"
        await ask(self._observer, "dump", record=str(record))
        return read_sightings(record)

    def _made(self, n: int) -> float:
        return self._sent[n - self._first] if n >= self._first else 0.0

    async def _afresh(self) -> float | None:
        """After an outage that the connection does not survive."""
        last, outage = self._sent_last(), self._options.long_outage
        tell(f"an outage of {outage:g} s, which the connection does not survive")
        updates = aside(self._updates(outage + 3 * _STEADY))
        self._first = last + 1
        await asyncio.sleep(_STEADY)
        self._link.conditions.down = True
        await asyncio.sleep(outage + self._chance.random())
        self._link.conditions.down = False
        back = time.monotonic()
        await updates
        return _since(back, [at for _, at in await self._seen()])

    def _sent_last(self) -> int:
        return self._first + len(self._sent) - 1


def _since(event: float, times: list[float]) -> float | None:
    """Milliseconds to the first of these after it."""
    return next((round((at - event) * 1000, 1) for at in times if at > event), None)


def _median(times: list[float | None]) -> float | None:
    """Of an even number the greater of the two in the middle; None counts as longer than any."""
    known = sorted(math.inf if each is None else each for each in times)
    median = known[len(known) // 2] if known else math.inf
    return median if math.isfinite(median) else None


def _listed(times: tuple[float | None, ...]) -> str:
    return ", ".join(map(str, times)) or "None"


async def measure(options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        async with (
            EmulatedLink(conditions_of(options), seed=options.seed) as link,
            Processes(folder) as processes,
        ):
            try:
                return await processes.during(Measurement(options, folder, link, processes).run())
            finally:
                processes.save_logs(options.keep_logs, "reconnect")


def _recorded(record: Path, fresh: list[Result]) -> list[Result]:
    """All runs in this file, one object a line, the fresh ones added."""
    with record.open("a") as file:
        file.writelines(json.dumps(asdict(result)) + "\n" for result in fresh)
    return [Result(**json.loads(line)) for line in record.read_text().splitlines()]


def _draw(options: argparse.Namespace, results: list[Result]) -> None:
    lines = {
        shown: [
            (run + _ASIDE * (place - (len(_SHOWN) + 1) / 2), value)
            for run, result in enumerate(results, 1)
            if (value := getattr(result, name)) is not None
        ]
        for place, (name, shown) in enumerate(_SHOWN.items(), 1)
    }
    trip = results[0].rtt_ms
    marks = [
        Mark("y", 0.5 * trip + _ALLOWED, f"target, live: {0.5 * trip + _ALLOWED:g} ms"),
        Mark("y", 1.5 * trip + _ALLOWED, f"target, new: {1.5 * trip + _ALLOWED:g} ms"),
    ]
    values = [value for line in lines.values() for _, value in line] + [mark.value for mark in marks]
    title = f"First update after {options.outage:g} s of outage and other mishaps, round trip {trip:g} ms"
    runs = Axis("run", 0.5, len(results) + 0.5, [(run, str(run)) for run in range(1, len(results) + 1)])
    save_lines(options.chart, title, runs, linear("milliseconds", values), lines, dots=True, marks=marks)


async def _main(options: argparse.Namespace) -> None:
    results = []
    for seed in range(options.seed, options.seed + options.runs):
        options.seed = seed
        result = await measure(options)
        results.append(result)
        print(
            f"first update after {options.outage:g} s of outage {result.first_update_ms} ms, after a change of "
            f"address {result.address_change_ms} ms, after a NAT's rebinding {result.nat_rebinding_ms} ms, on a new "
            f"connection {_listed(result.new_connections_ms)} ms (round trip {result.rtt_ms:g} ms)",
            flush=True,
        )
    if options.record:
        results = _recorded(options.record, results)
    if options.chart:
        _draw(options, results)
    if options.json:
        print(json.dumps(asdict(results[-1])))


def main() -> None:
    parser = new_parser("reconnect", __doc__, epilog=_EPILOG)
    add_options(parser)
    parser.add_argument("--outage", type=seconds, default=30.0, help="how long, 0 for new connections only (30s)")
    parser.add_argument("--long-outage", type=seconds, default=75.0, help="for the new connection, 0 for none (75s)")
    parser.add_argument("--times", type=int, default=1, help="so many long outages one after the other (1)")
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--early-data", action="store_true", help="values ahead of the handshake (0-RTT)")
    parser.add_argument("--runs", type=int, default=1, help="how often, with another seed each time (1)")
    parser.add_argument("--json", action="store_true", help="the last line is one object, of the last run")
    parser.add_argument("--record", type=Path, help="add the runs to this file; the chart has all that are in it")
    parser.add_argument("--chart", type=Path, help="write all runs as SVG to this file")
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs into this folder")
    run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
