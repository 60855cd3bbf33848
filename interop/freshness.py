"""How old the cloud's picture is: every change timed from the edge to an observer at the cloud, contenders in turn.

    python -m interop.freshness --loss 0.2 --delay 50ms

The clock starts at the moment the edge is handed a value (the product: `port.report` of an adapter; mosquitto: the
publisher writes it to the edge's broker) and stops when an observer at the cloud has that version or a newer one.
Needs root, and mosquitto for its contenders.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interop.chart import save_distribution
from interop.contenders import CONTENDERS, Contender, contenders
from interop.control import ask
from interop.link import EmulatedLink, add_options, conditions_of, run_as_root
from interop.processes import Processes
from interop.quantities import seconds
from interop.workload import Lateness, lateness, read_sightings, read_times

#: How long to wait for the first value of every device, and between that and the measurement.
_PRIME_PATIENCE, _SETTLE = 60.0, 1.0
_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """One contender's figures. `bytes_*`: IP packets handed to the link. `cpu_s`: both ends, no generator."""

    contender: str
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    delivered: int
    sent: int
    bytes_up: int
    bytes_down: int
    cpu_s: float


async def wait_until_seen(observer: Path, last: int, patience: float) -> bool:
    """Whether the observer has the newest update of every device in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (await ask(observer, "missing", last=last))["missing"] == 0:
            return True
        await asyncio.sleep(_LOOK_EVERY)
    return False


async def prime(contender: Contender) -> int:
    """Give every device a first value and wait until all are seen, within reason; the last update's number."""
    last: int = (await ask(contender.generator, "prime"))["last"]
    if not await wait_until_seen(contender.observer, last, _PRIME_PATIENCE):
        print(f"the first values did not all arrive within {_PRIME_PATIENCE:g} s", file=sys.stderr)
    return last


async def measure(name: str, options: argparse.Namespace) -> tuple[Result, Lateness]:
    """One contender on a fresh link."""
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
                processes.save_logs(options.keep_logs, name)


async def _measure(
    name: str, contender: Contender, link: EmulatedLink, options: argparse.Namespace, folder: Path
) -> tuple[Result, Lateness]:
    first = await prime(contender) + 1
    await asyncio.sleep(_SETTLE)
    up, down = link.up.counters.bytes, link.down.counters.bytes
    cpu = sum(running.cpu_s() for running in contender.measured)
    said = await ask(
        contender.generator,
        "run",
        patience=options.seconds + 60,
        rate=options.rate,
        seconds=options.seconds,
        record=str(folder / "sent"),
    )
    await wait_until_seen(contender.observer, said["last"], options.patience)
    end = time.monotonic()
    up, down = link.up.counters.bytes - up, link.down.counters.bytes - down
    cpu = sum(running.cpu_s() for running in contender.measured) - cpu
    await ask(contender.observer, "dump", record=str(folder / "seen"))
    late = lateness(read_times(folder / "sent"), first, options.devices, read_sightings(folder / "seen"), end)
    own = 0.0 if contender.generator_is_apart else said["generator_cpu_s"]
    p50, p90, p99, most = (late.percentile_ms(share) for share in (0.5, 0.9, 0.99, 1.0))
    return Result(name, p50, p90, p99, most, late.delivered, said["sent"], up, down, round(cpu - own, 2)), late


def table(results: list[Result]) -> str:
    names = f"{'contender':16}{'p50':>9}{'p90':>9}{'p99':>9}{'max ms':>10}"
    lines = [f"{names}{'delivered':>16}{'up kB':>9}{'down kB':>9}{'cpu s':>8}"]
    for result in results:
        delivered = f"{result.delivered}/{result.sent}"
        lines.append(
            f"{result.contender:16}{result.p50_ms:9.0f}{result.p90_ms:9.0f}{result.p99_ms:9.0f}{result.max_ms:10.0f}"
            f"{delivered:>16}{result.bytes_up / 1000:9.0f}{result.bytes_down / 1000:9.0f}{result.cpu_s:8.2f}"
        )
    return "\n".join(lines)


async def _main(options: argparse.Namespace) -> None:
    results, delays = [], {}
    for name in options.contenders:
        result, late = await measure(name, options)
        results.append(result)
        delays[name] = late.delays
        print(table(results[-1:]) if len(results) == 1 else table(results[-1:]).splitlines()[1], flush=True)
    title = f"{options.loss:.0%} loss{f' in bursts of {options.burst:g}' if options.burst > 1 else ''}, "
    title += f"{options.delay * 1000:.0f} ms one way, {options.rate:g} updates/s"
    if options.bandwidth:
        title += f", {options.bandwidth / 1000:g} kbit/s"
    if options.chart:
        save_distribution(options.chart, title, delays)
    if options.json:
        for result in results:
            print(json.dumps(asdict(result)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m interop.freshness", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--seconds", type=seconds, default=15.0, help="how long updates are made (15)")
    parser.add_argument("--patience", type=seconds, default=15.0, help="how long to wait for the last ones (15)")
    parser.add_argument("--contenders", type=contenders, default=list(CONTENDERS), help=",".join(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="the last lines are one object a contender")
    parser.add_argument("--chart", type=Path, help="write the distribution as SVG to this file")
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs into this folder")
    options: Any = parser.parse_args()
    run_as_root(_main(options))


if __name__ == "__main__":
    main()
