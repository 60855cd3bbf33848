"""What polling many Modbus units costs one node process, with every value changing, validated, versioned, committed.

    python -m interop.modbus --units 500 --values 30 --period 1s --json

The scenarios, in turn, or those that --only names:

  tcp     one TCP connection a unit
  links   links of ten units
  dead    fifty units, one of them silent by turns: what that costs the others
  writes  desired values written under the load of `links`
  speed   registers a second at full speed, against bare pymodbus
  fast    ten units polled every 20 ms

The last line is one JSON object: by scenario what was found, and at its top what `tcp` found (without it, `links`).
A scenario that fails loses no other's figures; the exit status is 1 then. Everything is on this machine: ports 21001
and up of the loopback address are taken. Needs no root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from interop.command import new_parser, run, tell
from interop.modbus_site import Layout, Site
from interop.modbus_speed import measure as measure_speed
from interop.processes import Processes
from interop.quantities import seconds
from interop.turns import in_turn

_UNITS_PER_LINK = 10
_DEAD_LINKS = 5
#: Seconds after which the death of a unit is no news any more.
_DEAD_SETTLE = 4.0
#: Seconds to let a node settle before measuring, at least.
_SETTLE = 6.0
_PORTS = 21001
#: Units that are polled as fast as can be said, and their period.
_FAST_UNITS, _FAST_PERIOD = 10, 0.02
SCENARIOS = ("tcp", "links", "dead", "writes", "speed", "fast")


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


async def load(layout: Layout, duration: float, *, writes: int = 0) -> dict[str, Any]:
    """One node under load for `duration` seconds."""
    with tempfile.TemporaryDirectory(prefix="modbus-") as name:
        folder = Path(name)
        async with Processes(folder) as processes:
            site = Site(processes, folder, layout, api=_PORTS + 6000 if writes else 0)
            node = await site.start()
            await asyncio.sleep(_SETTLE + 2 * layout.period)
            await site.ask("reset")
            began, cpu, versions = time.monotonic(), node.cpu_s(), site.committed()
            acks = await processes.during(_write(site, writes, duration)) if writes else []
            await processes.during(asyncio.sleep(max(0.0, began + duration - time.monotonic())))
            passed, cpu, versions = time.monotonic() - began, node.cpu_s() - cpu, site.committed() - versions
            rss, reports = node.rss_mb(), await site.ask(f"report {layout.period}")
    return _result(layout, reports, passed, cpu, versions, rss, acks)


def _result(
    layout: Layout,
    reports: list[dict[str, Any]],
    passed: float,
    cpu: float,
    versions: int,
    rss: float,
    acks: list[float],
) -> dict[str, Any]:
    late = [value for report in reports for values in report["late"].values() for value in values]
    expected = layout.links * layout.units
    heard = sum(len(report["late"]) for report in reports)
    result: dict[str, Any] = {
        "units": heard,
        "cpu_share": round(cpu / passed, 3),
        "rss_mb": round(rss, 1),
        "p50_late_ms": round(1000 * percentile(late, 0.5), 2),
        "p99_late_ms": round(1000 * percentile(late, 0.99), 2),
        "missed_polls": sum(report["missed"] for report in reports),
        "unheard_units": expected - heard,
        "values_per_s": round(versions / passed),
        "requests_per_s": round(sum(report["requests"] for report in reports) / passed),
    }
    if acks:
        result |= {"writes": len(acks), "write_p50_ms": round(1000 * percentile(acks, 0.5), 1)}
        result |= {"write_p99_ms": round(1000 * percentile(acks, 0.99), 1)}
    return result


async def _write(site: Site, count: int, duration: float) -> list[float]:
    """Seconds from a PATCH until its acknowledgement says applied, spread over the duration."""
    taken = []
    for number in range(count):
        device = f"meter-{1 + number * 7 % site.layout.links}-{1 + number % site.layout.units}"
        began = time.monotonic()
        answer = await asyncio.to_thread(site.patch, device, 1 + number)
        taken.append(time.monotonic() - began)
        state = answer["status"]["properties"]["desired"]["setpoint"]["ack"]["state"]
        if state != "applied":
            raise RuntimeError(f"{device}: the write ended as {state}")
        await asyncio.sleep(max(0.0, duration / count - taken[-1]))
    return taken


async def _dead(options: argparse.Namespace) -> dict[str, Any]:
    """Fifty units on five links of one node, by turns without and with a dead one; only the others are counted: from
    when a unit's values are due until they are reported."""
    layout = Layout(_DEAD_LINKS, _UNITS_PER_LINK, options.values, options.period, _PORTS)
    turns: dict[str, list[dict[str, list[float]]]] = {"speaking": [], "silent": []}
    with tempfile.TemporaryDirectory(prefix="modbus-") as name:
        async with Processes(Path(name)) as processes:
            site = Site(processes, Path(name), layout, timed=_PORTS + 5900)
            await site.start()
            await asyncio.sleep(_SETTLE)
            await processes.during(_by_turns(site, options, turns))
    return _compare(turns["speaking"], turns["silent"])


async def _by_turns(site: Site, options: argparse.Namespace, turns: dict[str, list[dict[str, list[float]]]]) -> None:
    port = site.layout.first_port
    for turn in range(1, options.turns + 1):
        for state, delays in turns.items():
            tell(f"  turn {turn} of {options.turns}: the unit is {state}")
            await site.ask(f"{state} 1 {port}")
            await _until_settled(site, f"{port}/1", site.layout.period, state)
            await site.timed()
            await asyncio.sleep(options.seconds)
            delays.append({unit: each["delays"] for unit, each in (await site.timed()).items()})


async def _until_settled(site: Site, unit: str, period: float, state: str) -> None:
    """A dead unit is no news any more; one that speaks again was found to do so."""
    await asyncio.sleep(_DEAD_SETTLE)
    while state == "speaking":
        await site.ask("reset")
        await asyncio.sleep(2 * period)
        if any(unit in report["late"] for report in await site.ask(f"report {period}")):
            return


def _compare(without: list[dict[str, list[float]]], with_dead: list[dict[str, list[float]]]) -> dict[str, Any]:
    """By unit and turn → medians over the turns, and how much greater the p99 is."""
    others = set[str].intersection(*(set(each) for each in with_dead))
    result: dict[str, Any] = {"turns": len(without)}
    for name, turns in (("without", without), ("with", with_dead)):
        delays = [[1000 * each for unit in others for each in turn.get(unit, [])] for turn in turns]
        p99 = [percentile(each, 0.99) for each in delays]
        result[name] = {
            "polls": sum(map(len, delays)),
            "p50_delay_ms": round(median(percentile(each, 0.5) for each in delays), 2),
            "p99_delay_ms": round(median(p99), 2),
            "p99_of_each_turn": [round(each, 2) for each in p99],
            "p99_of_all_ms": round(percentile([value for each in delays for value in each], 0.99), 2),
        }
    result["p99_times"] = round(result["with"]["p99_delay_ms"] / result["without"]["p99_delay_ms"], 3)
    return result


async def _fast(options: argparse.Namespace) -> dict[str, Any]:
    """Ten units, each on its own connection, polled every 20 ms."""
    layout = Layout(_FAST_UNITS, 1, options.values, _FAST_PERIOD, _PORTS)
    with tempfile.TemporaryDirectory(prefix="modbus-") as name:
        async with Processes(Path(name)) as processes:
            site = Site(processes, Path(name), layout, timed=_PORTS + 5900)
            node = await site.start()
            await asyncio.sleep(_SETTLE)
            await site.timed()
            began, cpu, versions = time.monotonic(), node.cpu_s(), site.committed()
            await processes.during(asyncio.sleep(options.seconds))
            passed, cpu, versions = time.monotonic() - began, node.cpu_s() - cpu, site.committed() - versions
            units = (await site.timed()).values()
    delays = [1000 * each for unit in units for each in unit["delays"]]
    return {
        "units": len(units),
        "cpu_share": round(cpu / passed, 3),
        "polls": len(delays),
        "missed_polls": sum(unit["missed"] for unit in units),
        "p50_delay_ms": round(percentile(delays, 0.5), 2),
        "p99_delay_ms": round(percentile(delays, 0.99), 2),
        "max_delay_ms": round(max(delays), 1),
        "values_per_s": round(versions / passed),
    }


async def _speed(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="modbus-") as name:
        async with Processes(Path(name)) as processes:
            site = Site(processes, Path(name), Layout(1, 1, 150, 1.0, _PORTS))
            await site._start_plant(_PORTS, 1)
            rates = await measure_speed(_PORTS, options.seconds / 2)
    found: dict[str, Any] = {f"{name}_registers_per_s": round(rate) for name, rate in rates.items()}
    found["times_one_by_one"] = round(rates["adapter"] / rates["pymodbus_one_by_one"], 1)
    found["share_of_by_block"] = round(rates["adapter"] / rates["pymodbus_by_block"], 3)
    return found


async def _run(options: argparse.Namespace) -> int:
    units, values, period = options.units, options.values, options.period
    apart = Layout(units, 1, values, period, _PORTS)
    shared = Layout(max(1, units // _UNITS_PER_LINK), _UNITS_PER_LINK, values, period, _PORTS)
    ways: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "tcp": lambda: load(apart, options.seconds),
        "links": lambda: load(shared, options.seconds),
        "dead": lambda: _dead(options),
        "writes": lambda: load(shared, options.seconds, writes=options.writes),
        "speed": lambda: _speed(options),
        "fast": lambda: _fast(options),
    }

    async def measure(name: str) -> dict[str, Any]:
        tell(f"{name} …")
        return await ways[name]()

    results: dict[str, dict[str, Any]] = {}
    failed = 0
    async for turn in in_turn(options.only or SCENARIOS, measure):
        results[turn.name] = {"error": turn.problem} if turn.outcome is None else turn.outcome
        failed += turn.outcome is None
        if not options.json:
            print(f"{turn.name:8} {json.dumps(results[turn.name])}", flush=True)
    first = results.get("tcp") or results.get("links") or {}
    print(json.dumps({**first, "units": units, "values": values, **results}))
    return 1 if failed else 0


_EPILOG = """\
examples:
  python -m interop.modbus --only tcp --only links --seconds 15s --json
  python -m interop.modbus --only writes --units 50 --writes 20 --seconds 10s
"""


def main() -> None:
    parser = new_parser("modbus", __doc__, epilog=_EPILOG)
    parser.add_argument("--units", type=int, default=500, help="of the load (500)")
    parser.add_argument("--values", type=int, default=30, help="of each unit (30)")
    parser.add_argument("--period", type=seconds, default=1.0, help="in which each is polled, and changes, once (1s)")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="of each measurement (30s)")
    parser.add_argument("--writes", type=int, default=100, help="in all, spread over the measurement (100)")
    parser.add_argument("--turns", type=int, default=4, help="how often the dead unit dies (4)")
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, metavar="SCENARIO", help="may be given several times (all)"
    )
    parser.add_argument("--json", action="store_true", help="nothing but the last line on standard output")
    run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
