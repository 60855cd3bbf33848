"""How long the cloud takes to catch up after an outage, and at what cost.

    python -m interop.outage --outage 5m --bandwidth 1m

Updates go on all the while. Catch-up is done when the observer at the cloud has, of every device, the value that was
newest when the link came back, or a newer one. A contender that fails loses nobody else's figures; the exit status is
1 then. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interop.chart import Mark, linear, save_lines, span
from interop.command import new_parser, run, tell
from interop.contenders import CONTENDERS, Contender, contenders
from interop.control import aside, ask
from interop.freshness import prime, wait_until_seen
from interop.link import EmulatedLink, add_options, conditions_of
from interop.processes import Processes
from interop.quantities import seconds
from interop.turns import Turn, in_turn, json_line
from interop.workload import read_sightings, read_times

_EPILOG = """\
examples:
  python -m interop.outage --outage 5m --json
  python -m interop.outage --outage 60s --after 60s --contenders twingateway,mosquitto-bbr --chart outage.svg
"""

_BEFORE = 5.0
_WATCHED = 0.05
#: What catching up is meant to take at most, in seconds.
TARGET = 2.0
#: The chart begins so many seconds before the link comes back, and has a point each so often.
_SHOWN_BEFORE, _STEP = 2.0, 0.1

Line = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Result:
    """`bytes`: IP packets in both directions until caught up. `rss_growth_mb`: of the edge, over the outage."""

    contender: str
    outage_s: float
    catch_up_s: float | None
    first_update_ms: float | None
    bytes: int
    rss_growth_mb: float


def ages(
    sent: Sequence[float], first: int, seen: Sequence[tuple[int, float]], devices: int, times: Iterable[float]
) -> list[float]:
    """The age of the oldest value at the cloud at each of these (ascending) times: how long ago it ceased to be the
    edge's, the worst of all devices. `first`: the number of the first update in `sent`."""
    following = [first + (device - first + 1) % devices for device in range(devices)]
    """By device: the first update that the cloud has nothing as new as."""
    found, at_sighting = [], 0
    for now in times:
        while at_sighting < len(seen) and seen[at_sighting][1] <= now:
            n = seen[at_sighting][0]
            device = (n - 1) % devices
            following[device] = max(following[device], n + devices)
            at_sighting += 1
        handed = [sent[n - first] for n in following if n - first < len(sent)]
        found.append(max((now - at for at in handed if at <= now), default=0.0))
    return found


async def measure(name: str, options: argparse.Namespace) -> tuple[Result, Line]:
    """One contender; also (seconds since the link came back, oldest age in seconds)."""
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        async with (
            EmulatedLink(conditions_of(options), seed=options.seed) as link,
            Processes(folder) as processes,
        ):
            try:
                contender = await CONTENDERS[name](processes, folder, link, options.devices)
                return await processes.during(_measure(name, contender, link, options, folder))
            finally:
                processes.save_logs(options.keep_logs, f"outage-{name}")


async def _measure(
    name: str, contender: Contender, link: EmulatedLink, options: argparse.Namespace, folder: Path
) -> tuple[Result, Line]:
    first = await prime(contender) + 1
    lasts = _BEFORE + options.outage + options.after
    how = {"rate": options.rate, "seconds": lasts, "record": str(folder / "sent")}
    running = aside(ask(contender.generator, "run", patience=lasts + 120, **how))
    edge = contender.measured[0]
    await asyncio.sleep(_BEFORE)
    memory = edge.rss_mb()
    link.conditions.down = True
    tell(f"{name}: no link for {options.outage:g} s")
    await asyncio.sleep(options.outage)
    growth = edge.rss_mb() - memory
    link.conditions.down = False
    back = time.monotonic()
    tell(f"{name}: the link is back; {options.after:g} s more")
    traffic = [(back, 0)]
    begun = link.up.counters.bytes + link.down.counters.bytes
    while not running.done():
        await asyncio.sleep(_WATCHED)
        traffic.append((time.monotonic(), link.up.counters.bytes + link.down.counters.bytes - begun))
    last = (await running)["last"]
    await wait_until_seen(contender.observer, last, options.patience)
    await ask(contender.observer, "dump", record=str(folder / "seen"))
    sent = read_times(folder / "sent")
    seen = read_sightings(folder / "seen")
    caught_up = caught_up_at(list(enumerate(sent, first)), seen, options.devices, back)
    news = next((at for n, at in seen if at > back), None)
    result = Result(
        contender=name,
        outage_s=options.outage,
        catch_up_s=None if caught_up is None else round(caught_up - back, 2),
        first_update_ms=None if news is None else round((news - back) * 1000, 1),
        bytes=next((count for at, count in traffic if caught_up is not None and at >= caught_up), traffic[-1][1]),
        rss_growth_mb=round(growth, 1),
    )
    shown = [step * _STEP for step in range(round(-_SHOWN_BEFORE / _STEP), round(options.after / _STEP) + 1)]
    aged = ages(sent, first, seen, options.devices, [back + at for at in shown])
    return result, list(zip(shown, aged, strict=True))


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


def _row(turn: Turn[tuple[Result, Line]]) -> str:
    if turn.outcome is None:
        return f"{turn.name}: failed: {turn.problem}"
    result, _ = turn.outcome
    when = "did not catch up" if result.catch_up_s is None else f"caught up {result.catch_up_s} s"
    first = "no update came" if result.first_update_ms is None else f"first update {result.first_update_ms} ms after"
    return (
        f"{turn.name}: {when} after {result.outage_s:g} s of outage, {first}; {result.bytes / 1000:.0f} kB, "
        f"memory +{result.rss_growth_mb} MB"
    )


def _draw(options: argparse.Namespace, lines: Mapping[str, Line]) -> None:
    x = span("seconds since the link came back", -_SHOWN_BEFORE, options.after)
    y = linear("age of the oldest value, s", [value for line in lines.values() for _, value in line])
    title = f"Catching up after {options.outage:g} s of outage, {options.rate:,g} updates/s"
    if options.bandwidth:
        title += f", {options.bandwidth / 1e6:g} Mbit/s"
    save_lines(options.chart, title, x, y, lines, marks=[Mark("x", TARGET, f"target {TARGET:g} s")])


async def _main(options: argparse.Namespace) -> int:
    turns = []
    async for turn in in_turn(options.contenders, lambda name: measure(name, options)):
        turns.append(turn)
        print(_row(turn), flush=True)
    lines = {turn.name: turn.outcome[1] for turn in turns if turn.outcome is not None}
    if options.chart and lines:
        _draw(options, lines)
    if options.json:
        for turn in turns:
            print(json_line(turn.name, turn.outcome and turn.outcome[0], turn.problem))
    return 0 if len(lines) == len(turns) else 1


def main() -> None:
    parser = new_parser("outage", __doc__, epilog=_EPILOG)
    add_options(parser)
    parser.set_defaults(bandwidth=1e6)
    parser.add_argument("--outage", type=seconds, default=300.0, help="how long (5m)")
    parser.add_argument("--after", type=seconds, default=15.0, help="how long to go on afterwards (15)")
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--patience", type=seconds, default=15.0, help="how long to wait for the last ones (15)")
    parser.add_argument("--contenders", type=contenders, default=["twingateway"], help="of " + ",".join(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="the last lines are one object a contender")
    parser.add_argument("--chart", type=Path, help="write the oldest age over time as SVG to this file")
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs into this folder")
    run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
