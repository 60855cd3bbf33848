"""How long the cloud takes to catch up after an outage, and at what cost.

    python -m interop.outage --outage 5m --bandwidth 1m

Updates go on all the while. Catch-up is done when the observer at the cloud has, of every device, the value that was
newest when the link came back, or a newer one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from interop.chart import linear, save_lines
from interop.contenders import CONTENDERS, Contender, contenders
from interop.control import ask
from interop.freshness import prime, wait_until_seen
from interop.link import EmulatedLink, add_options, conditions_of, run_as_root
from interop.processes import Processes
from interop.quantities import seconds
from interop.workload import read_sightings, read_times

_BEFORE = 5.0
_WATCHED = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """`bytes`: IP packets in both directions until caught up. `rss_growth_mb`: of the edge, over the outage."""

    contender: str
    outage_s: float
    catch_up_s: float | None
    first_update_ms: float | None
    bytes: int
    rss_growth_mb: float


def age(sent: list[tuple[int, float]], seen: list[tuple[int, float]], devices: int, at: float) -> float:
    """The age of the oldest value at the cloud: how long ago it ceased to be the edge's, the worst of all devices."""
    newest = {(n - 1) % devices: n for n, time in seen if time <= at}
    waiting: dict[int, float] = {}
    for n, handed in sent:
        device = (n - 1) % devices
        if handed <= at and n > newest.get(device, 0):
            waiting.setdefault(device, handed)
    return max((at - handed for handed in waiting.values()), default=0.0)


async def measure(name: str, options: argparse.Namespace) -> tuple[Result, list[tuple[float, float]]]:
    """One contender; also (seconds since the link came back, oldest age in seconds)."""
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        async with (
            EmulatedLink(conditions_of(options), seed=options.seed) as link,
            Processes(folder) as processes,
        ):
            contender = await CONTENDERS[name](processes, folder, link, options.devices)
            try:
                return await _measure(name, contender, link, options, folder)
            finally:
                processes.save_logs(options.keep_logs, f"outage-{name}")


async def _measure(
    name: str, contender: Contender, link: EmulatedLink, options: argparse.Namespace, folder: Path
) -> tuple[Result, list[tuple[float, float]]]:
    first = await prime(contender) + 1
    lasts = _BEFORE + options.outage + options.after
    running = asyncio.create_task(
        ask(
            contender.generator,
            "run",
            patience=lasts + 120,
            rate=options.rate,
            seconds=lasts,
            record=str(folder / "sent"),
        )
    )
    edge = contender.measured[0]
    await asyncio.sleep(_BEFORE)
    memory = edge.rss_mb()
    link.conditions.down = True
    await asyncio.sleep(options.outage)
    growth = edge.rss_mb() - memory
    link.conditions.down = False
    back = time.monotonic()
    traffic = [(back, 0)]
    begun = link.up.counters.bytes + link.down.counters.bytes
    while not running.done():
        await asyncio.sleep(_WATCHED)
        traffic.append((time.monotonic(), link.up.counters.bytes + link.down.counters.bytes - begun))
    last = (await running)["last"]
    await wait_until_seen(contender.observer, last, options.patience)
    await ask(contender.observer, "dump", record=str(folder / "seen"))
    sent = list(enumerate(read_times(folder / "sent"), first))
    seen = read_sightings(folder / "seen")
    caught_up = caught_up_at(sent, seen, options.devices, back)
    news = next((at for n, at in seen if at > back), None)
    result = Result(
        contender=name,
        outage_s=options.outage,
        catch_up_s=None if caught_up is None else round(caught_up - back, 2),
        first_update_ms=None if news is None else round((news - back) * 1000, 1),
        bytes=next((count for at, count in traffic if caught_up is not None and at >= caught_up), traffic[-1][1]),
        rss_growth_mb=round(growth, 1),
    )
    points = [(step * 0.1, age(sent, seen, options.devices, back + step * 0.1)) for step in range(-20, 81)]
    return result, [(at + 2, each) for at, each in points]


def caught_up_at(
    sent: list[tuple[int, float]], seen: list[tuple[int, float]], devices: int, back: float
) -> float | None:
    """When the last device's newest value from before `back` was seen."""
    wanted = {(n - 1) % devices: n for n, handed in sent if handed <= back}
    for n, at in seen:
        if n >= wanted.get((n - 1) % devices, n + 1):
            del wanted[(n - 1) % devices]
            if not wanted:
                return at
    return None


async def _main(options: argparse.Namespace) -> None:
    results, lines = [], {}
    for name in options.contenders:
        result, lines[name] = await measure(name, options)
        results.append(result)
        print(
            f"{name}: caught up {result.catch_up_s} s after {result.outage_s:g} s of outage, first update after "
            f"{result.first_update_ms} ms, {result.bytes / 1000:.0f} kB, memory +{result.rss_growth_mb} MB",
            flush=True,
        )
    if options.chart:
        x = linear("seconds (the link comes back at 2)", [10.0])
        y = linear("age of the oldest value, seconds", [value for line in lines.values() for _, value in line])
        save_lines(options.chart, f"After {options.outage:g} s of outage, {options.rate:g} updates/s", x, y, lines)
    if options.json:
        print(json.dumps(asdict(results[0]) if len(results) == 1 else [asdict(result) for result in results]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m interop.outage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.set_defaults(bandwidth=1e6)
    parser.add_argument("--outage", type=seconds, default=300.0, help="how long (5m)")
    parser.add_argument("--after", type=seconds, default=15.0, help="how long to go on afterwards (15)")
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--patience", type=seconds, default=15.0, help="how long to wait for the last ones (15)")
    parser.add_argument("--contenders", type=contenders, default=["twingateway"], help="of " + ",".join(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="the last line is one object")
    parser.add_argument("--chart", type=Path, help="write the oldest age over time as SVG to this file")
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs into this folder")
    run_as_root(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
