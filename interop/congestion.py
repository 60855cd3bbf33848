"""What the congestion controller makes of a slow link under bulk load, alone or beside a kernel TCP flow under CUBIC.

    python -m interop.congestion --loss 0.2
    python -m interop.congestion --rival

Random loss strikes ahead of the bottleneck. Figures after the warm-up: the share of the link's rate that arrives as
payload and the share of it that is used at all, the median time packets wait in the queue, and how many bytes were
sent for each that the link lets through in that time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from interop.chart import linear, save_lines
from interop.control import ask
from interop.link import EmulatedLink, add_options, conditions_of, run_as_root
from interop.processes import Processes
from interop.quantities import seconds
from twingateway.pki.authority import create_authority, issue


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


async def measure(options: argparse.Namespace) -> tuple[Result, list[tuple[float, float]]]:
    """The figures, and (seconds, milliseconds in the queue) from the start."""
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
            counters = link.up.counters
            counters.record = True
            began = time.monotonic()
            for _, sender in flows.values():
                await ask(sender, "start")
            await asyncio.sleep(options.warm_up)
            first = {name: (await ask(flow[0], "received"))["received"] for name, flow in flows.items()}
            sent, passed, at = counters.bytes, counters.passed_bytes, time.monotonic()
            await asyncio.sleep(options.seconds)
            lasted = time.monotonic() - at
            capacity = conditions.rate * lasted / 8
            gained = {
                name: ((await ask(flow[0], "received"))["received"] - first[name]) / capacity
                for name, flow in flows.items()
            }
            waits = sorted(wait * 1000 for when, wait in counters.waits if when >= at)
            result = Result(
                utilisation=round((counters.passed_bytes - passed) / capacity, 3),
                goodput=round(gained["quic"], 3),
                rival=round(gained.get("tcp", 0.0), 3),
                median_queue_ms=round(statistics.median(waits), 1),
                p99_queue_ms=round(waits[int(0.99 * len(waits))], 1),
                sent_ratio=round((counters.bytes - sent) / capacity, 3),
            )
            return result, [
                (when - began, wait * 1000) for when, wait in counters.waits[:: max(1, len(waits) // 400)]
            ]


async def _main(options: argparse.Namespace) -> None:
    result, waits = await measure(options)
    rival = f", rival {result.rival:.0%}" if options.rival else ""
    print(
        f"{options.loss:.0%} loss: link used {result.utilisation:.0%}, payload {result.goodput:.0%}{rival}; "
        f"in the queue {result.median_queue_ms} ms (median), {result.p99_queue_ms} ms (p99); "
        f"sent {result.sent_ratio} of its rate",
        flush=True,
    )
    if options.chart:
        x = linear("seconds", [waits[-1][0]])
        y = linear("milliseconds in the queue", [wait for _, wait in waits])
        title = f"Queue at {options.bandwidth / 1e6:g} Mbit/s, {options.loss:.0%} loss"
        save_lines(options.chart, title + (", beside TCP CUBIC" if options.rival else ""), x, y, {"queue": waits})
    if options.json:
        print(json.dumps(asdict(result)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m interop.congestion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.set_defaults(bandwidth=1e6)
    parser.add_argument("--rival", action="store_true", help="beside one kernel TCP flow under CUBIC")
    parser.add_argument("--warm-up", type=seconds, default=10.0, help="not counted (10)")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="counted (30)")
    parser.add_argument("--json", action="store_true", help="the last line is one object")
    parser.add_argument("--chart", type=Path, help="write the queue over time as SVG to this file")
    run_as_root(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
