"""How old the cloud's picture is: every change timed from the edge to an observer at the cloud, contenders in turn.

    python -m interop.freshness --loss 0.2 --delay 50ms

The clock starts at the moment the edge is handed a value (the product: `port.report` of an adapter; mosquitto: the
publisher writes it to the edge's broker) and stops when an observer at the cloud has that version or a newer one.
A contender that fails loses nobody else's figures; the exit status is 1 then. Needs root, and mosquitto for its
contenders.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from interop.chart import save_distribution
from interop.command import new_parser, run, tell
from interop.contenders import CONTENDERS, Contender, contenders
from interop.control import ask
from interop.link import EmulatedLink, add_options, conditions_of
from interop.processes import Processes
from interop.quantities import seconds
from interop.turns import Turn, in_turn, json_line
from interop.workload import Lateness, lateness, read_sightings, read_times

_EPILOG = """\
examples:
  python -m interop.freshness --loss 20% --json
  python -m interop.freshness --loss 10% --burst 8 --contenders twingateway,mosquitto-bbr
  python -m interop.freshness --loss 2% --bandwidth 256k --contenders twingateway --seed 2
"""

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
        tell(f"the first values did not all arrive within {_PRIME_PATIENCE:g} s")
    return last


async def measure(name: str, options: argparse.Namespace) -> tuple[Result, Lateness]:
    """One contender on a fresh link."""
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


HEADING = (
    f"{'contender':16}{'p50':>9}{'p90':>9}{'p99':>9}{'max ms':>10}"
    f"{'delivered':>16}{'up kB':>9}{'down kB':>9}{'cpu s':>8}"
)


def row(turn: Turn[tuple[Result, Lateness]]) -> str:
    if turn.outcome is None:
        return f"{turn.name:16}failed: {turn.problem}"
    result, _ = turn.outcome
    delivered = f"{result.delivered}/{result.sent}"
    return (
        f"{result.contender:16}{result.p50_ms:9.0f}{result.p90_ms:9.0f}{result.p99_ms:9.0f}{result.max_ms:10.0f}"
        f"{delivered:>16}{result.bytes_up / 1000:9.0f}{result.bytes_down / 1000:9.0f}{result.cpu_s:8.2f}"
    )


def described(options: argparse.Namespace) -> str:
    """The conditions, for the title of a chart."""
    burst = f" in bursts of {options.burst:g}" if options.burst > 1 else ""
    bandwidth = f", {options.bandwidth / 1000:g} kbit/s" if options.bandwidth else ""
    delay = f"{options.delay * 1000:.0f} ms one way"
    return f"{options.loss * 100:g} % loss{burst}, {delay}, {options.rate:,g} updates/s{bandwidth}"


async def _main(options: argparse.Namespace) -> int:
    print(HEADING, flush=True)
    turns = []
    async for turn in in_turn(options.contenders, lambda name: measure(name, options)):
        turns.append(turn)
        print(row(turn), flush=True)
    delays = {turn.name: turn.outcome[1].delays for turn in turns if turn.outcome is not None}
    if options.chart and delays:
        save_distribution(options.chart, f"Seen at the cloud: {described(options)}", delays, options.target)
    if options.json:
        for turn in turns:
            print(json_line(turn.name, turn.outcome and turn.outcome[0], turn.problem))
    return 0 if len(delays) == len(turns) else 1


def main() -> None:
    parser = new_parser("freshness", __doc__, epilog=_EPILOG)
    add_options(parser)
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--seconds", type=seconds, default=15.0, help="how long updates are made (15)")
    parser.add_argument("--patience", type=seconds, default=15.0, help="how long to wait for the last ones (15)")
    parser.add_argument("--contenders", type=contenders, default=list(CONTENDERS), help=",".join(CONTENDERS))
    parser.add_argument("--json", action="store_true", help="the last lines are one object a contender")
    parser.add_argument("--chart", type=Path, help="write the distribution as SVG to this file")
    parser.add_argument("--target", type=seconds, help="what p99 is meant to be, like 95ms; marked in the chart")
    parser.add_argument("--keep-logs", type=Path, help="copy the processes' logs into this folder")
    run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
