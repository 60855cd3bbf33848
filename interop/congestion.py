"""What the congestion controller makes of a slow link under bulk load, alone or beside a kernel TCP flow under CUBIC.

    python -m interop.congestion --loss 0.2
    python -m interop.congestion --rival

Random loss strikes ahead of the bottleneck. Figures after the warm-up: the share of the link's rate that arrives as
payload and the share of it that is used at all, the median time packets wait in the queue, and how many bytes were
sent for each that the link lets through in that time. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from interop.chart import Mark, linear, save_lines, span
from interop.command import new_parser, run, tell
from interop.control import ask
from interop.link import EmulatedLink, add_options, conditions_of
from interop.processes import Processes
from interop.quantities import seconds
from twingateway.pki.authority import create_authority, issue

_EPILOG = """\
examples:
  python -m interop.congestion --loss 20% --warm-up 8 --seconds 20 --json
  python -m interop.congestion --rival --warm-up 20 --seconds 60 --seed 11
"""
#: Seconds between two looks at what has got through.
_SAMPLED = 1.0
#: What is aimed at: milliseconds in the queue (median), and each flow's share beside another, in percent.
_QUEUE, _FAIR = 100.0, 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """`utilisation`: bytes that passed the bottleneck (headers too); `goodput`, `rival`: payload; all as shares of
    the link's rate. `sent_ratio`: bytes handed to the link for each byte that the link could have let through."""

    utilisation: float
    goodput: float
    rival: float
    median_queue_ms: float
    p99_queue_ms: float
    sent_ratio: float


async def _flow(processes: Processes, folder: Path, link: EmulatedLink, transport: str) -> tuple[Path, Path]:
    sockets = []
    for side in ("cloud", "edge"):
        socket = folder / f"{transport}-{side}.socket"
        await processes.start_module(
            f"{transport}-{side}", link.inside(side), "interop.bulk", transport, side,
            "--address", link.cloud_address, "--folder", str(folder), "--control", str(socket),
        )  # fmt: skip
        sockets.append(socket)
        while not socket.exists():
            await asyncio.sleep(0.05)
    return sockets[0], sockets[1]


Line = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """How it went, by seconds from the start: `waits` in the queue, ms; `shares` of the link's rate that each flow
    got as payload, %."""

    waits: Line
    shares: dict[str, Line]


async def measure(options: argparse.Namespace) -> tuple[Result, Course]:
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        create_authority(folder)
        conditions = conditions_of(options)
        async with EmulatedLink(conditions, seed=options.seed) as link, Processes(folder) as processes:
            link.use_congestion_control("cubic")
            issue(folder, "cloud", hosts=[link.cloud_address])
            flows = {"quic": await _flow(processes, folder, link, "quic")}
            if options.rival:
                flows["tcp"] = await _flow(processes, folder, link, "tcp")
            return await processes.during(_measure(options, link, flows))


async def _measure(
    options: argparse.Namespace, link: EmulatedLink, flows: Mapping[str, tuple[Path, Path]]
) -> tuple[Result, Course]:
    counters, rate = link.up.counters, link.conditions.rate
    counters.record = True
    began = time.monotonic()
    for _, sender in flows.values():
        await ask(sender, "start")
    tell(f"{options.warm_up:g} s to warm up, then {options.seconds:g} s that count")
    samples = [await _sample(flows)]
    while time.monotonic() < began + options.warm_up:
        await asyncio.sleep(min(_SAMPLED, max(0.0, began + options.warm_up - time.monotonic())))
        samples.append(await _sample(flows))
    at, first = samples[-1]
    sent, passed = counters.bytes, counters.passed_bytes
    while time.monotonic() < at + options.seconds:
        await asyncio.sleep(min(_SAMPLED, max(0.0, at + options.seconds - time.monotonic())))
        samples.append(await _sample(flows))
    until, last = samples[-1]
    capacity = rate * (until - at) / 8
    gained = {name: (last[name] - first[name]) / capacity for name in flows}
    waits = sorted(wait * 1000 for when, wait in counters.waits if when >= at)
    result = Result(
        utilisation=round((counters.passed_bytes - passed) / capacity, 3),
        goodput=round(gained["quic"], 3),
        rival=round(gained.get("tcp", 0.0), 3),
        median_queue_ms=round(statistics.median(waits), 1),
        p99_queue_ms=round(waits[int(0.99 * len(waits))], 1),
        sent_ratio=round((counters.bytes - sent) / capacity, 3),
    )
    shown = counters.waits[:: max(1, len(counters.waits) // 400)]
    shares = {
        name: [(b[0] - began, 800 * (b[1][name] - a[1][name]) / rate / (b[0] - a[0])) for a, b in pairwise(samples)]
        for name in flows
    }
    return result, Course([(when - began, wait * 1000) for when, wait in shown], shares)


async def _sample(flows: Mapping[str, tuple[Path, Path]]) -> tuple[float, dict[str, int]]:
    """Now, and the bytes that each flow has got through so far."""
    return time.monotonic(), {name: (await ask(flow[0], "received"))["received"] for name, flow in flows.items()}


def _draw(options: argparse.Namespace, course: Course) -> None:
    where = f"{options.bandwidth / 1e6:g} Mbit/s, {options.loss * 100:g} % loss"
    x = span("seconds", 0, options.warm_up + options.seconds)
    if options.rival:
        lines = {{"quic": "twingateway", "tcp": "TCP CUBIC"}[name]: line for name, line in course.shares.items()}
        shares = linear("share of the link as payload, %", [share for line in lines.values() for _, share in line])
        marks = [Mark("y", _FAIR, f"at least {_FAIR:g} % each"), Mark("x", options.warm_up, "counted from here")]
        save_lines(options.chart, f"Bulk load beside kernel TCP CUBIC on {where}", x, shares, lines, marks=marks)
        return
    waits = linear("milliseconds in the queue", [wait for _, wait in course.waits])
    marks = [Mark("y", _QUEUE, f"median ≤ {_QUEUE:g} ms"), Mark("x", options.warm_up, "counted from here")]
    title = f"Queue under bulk load on {where}"
    save_lines(options.chart, title, x, waits, {"each packet": course.waits}, marks=marks)


async def _main(options: argparse.Namespace) -> None:
    result, course = await measure(options)
    rival = f", rival {result.rival:.0%}" if options.rival else ""
    print(
        f"{options.loss:.0%} loss: link used {result.utilisation:.0%}, payload {result.goodput:.0%}{rival}; "
        f"in the queue {result.median_queue_ms} ms (median), {result.p99_queue_ms} ms (p99); "
        f"sent {result.sent_ratio} of its rate",
        flush=True,
    )
    if options.chart:
        _draw(options, course)
    if options.json:
        print(json.dumps(asdict(result)))


def main() -> None:
    parser = new_parser("congestion", __doc__, epilog=_EPILOG)
    add_options(parser)
    parser.set_defaults(bandwidth=1e6)
    parser.add_argument("--rival", action="store_true", help="beside one kernel TCP flow under CUBIC")
    parser.add_argument("--warm-up", type=seconds, default=10.0, help="not counted (10)")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="counted (30)")
    parser.add_argument("--json", action="store_true", help="the last line is one object")
    parser.add_argument("--chart", type=Path, help="write the queue (with --rival: the shares) as SVG to this file")
    options = parser.parse_args()
    if not options.bandwidth:
        parser.error("--bandwidth: the link must have one, such as 1m")
    run(_main(options))


if __name__ == "__main__":
    main()
