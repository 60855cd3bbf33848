"""How many property updates a second are durable at the cloud, both nodes on this machine, over loopback.

    python -m interop.throughput

40,000 registers (500 devices of 80 properties) each change once a second; a change counts when the cloud's store has
committed it. The generator runs inside the edge node, on the same cores; its CPU time is reported apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from interop.chart import Mark, linear, save_lines
from interop.command import new_parser, run, tell
from interop.control import aside, ask
from interop.nodes import Nodes
from interop.processes import Processes, Running
from interop.quantities import seconds

_COMMITTED = "twingateway_register_versions_durable_total"
_PAGE = 500
_SETTLE = 3.0
#: Updates a second that are to be durable.
TARGET = 40_000.0
_EPILOG = """\
examples:
  python -m interop.throughput --json
  python -m interop.throughput --period 0.8s          (50,000 a second offered: where does it end?)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """`lost`: registers whose last value the cloud does not have; `superseded`: share of the versions that a newer
    one replaced before it was durable at the cloud. CPU in µs for each update made durable there."""

    updates_per_s: float
    offered_per_s: float
    superseded: float
    lost: int
    cpu_us_per_update_edge: float
    cpu_us_per_update_cloud: float
    cpu_us_per_update_generator: float
    rss_mb_edge: float
    rss_mb_cloud: float


class Cloud:
    """What the cloud's API tells."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def committed(self) -> float:
        text = (await self._get("/metrics")).decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(_COMMITTED))

    async def twins(self) -> dict[str, dict[str, Any]]:
        """Reported properties by twin."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            page = json.loads(await self._get(f"/twins?limit={_PAGE}{after}"))
            found |= {twin["metadata"]["name"]: twin["spec"]["reportedProperties"] for twin in page["items"]}
            if not page["nextAfter"]:
                return found
            after = f"&after={page['nextAfter']}"

    async def _get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def get() -> bytes:
            with opener.open(self._url + path, timeout=30) as response:
                return bytes(response.read())

        return await asyncio.to_thread(get)


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(twins: dict[str, dict[str, Any]], devices: int, properties: int, last: int) -> int:
    """How many of all registers are not there, or not what they were last given."""
    there = 0
    for device in range(devices):
        newest = last - (last - 1 - device) % devices
        there += sum(value == newest for value in twins.get(f"d{device}", {}).values())
    return devices * properties - there


async def _until_complete(cloud: Cloud, devices: int, properties: int, last: int, patience: float) -> int:
    """How many registers are not what they were last given, once that is none or patience ends."""
    deadline = time.monotonic() + patience
    while True:
        lost = missing(await cloud.twins(), devices, properties, last)
        if not lost or time.monotonic() > deadline:
            return lost
        await asyncio.sleep(0.5)


async def _sample(cloud: Cloud, points: list[tuple[float, float]]) -> None:
    await asyncio.sleep(1.0)
    while True:
        points.append((time.monotonic(), await cloud.committed()))
        await asyncio.sleep(1.0)


async def _main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        async with Processes(folder) as processes:
            port = free_port(socket.SOCK_STREAM)
            nodes = Nodes(
                processes,
                folder,
                devices=options.devices,
                properties=options.properties,
                cloud_address="127.0.0.1",
                quic_port=free_port(socket.SOCK_DGRAM),
                api_port=port,
            )
            edge, cloud = await nodes.start()
            if options.pids:
                print(f"edge {edge.pid} cloud {cloud.pid}", flush=True)
            try:
                result, points = await processes.during(_measure(options, nodes, Cloud(port), edge, cloud))
            finally:
                processes.save_logs(options.keep_logs, "throughput")
    _tell(result)
    if options.chart:
        rates = [((b[0] - points[0][0]), (b[1] - a[1]) / (b[0] - a[0])) for a, b in pairwise(points)]
        x = linear("seconds", [at for at, _ in rates])
        y = linear("updates/s", [TARGET, *(rate for _, rate in rates)])
        title = f"{options.devices * options.properties:,} registers changing every {options.period:g} s, loopback"
        marks = [Mark("y", TARGET, "target 40,000/s")]
        save_lines(options.chart, title, x, y, {"durable at the cloud": rates}, marks=marks)
    if options.json:
        print(json.dumps(asdict(result)))


async def _measure(
    options: argparse.Namespace, nodes: Nodes, api: Cloud, edge: Running, cloud: Running
) -> tuple[Result, list[tuple[float, float]]]:
    devices, properties = options.devices, options.properties
    tell(f"every register once, then {options.seconds:g} s of changes")
    last = (await ask(nodes.generator_socket, "prime"))["last"]
    await _until_complete(api, devices, properties, last, 60.0)
    await asyncio.sleep(_SETTLE)
    points: list[tuple[float, float]] = []
    sampling = aside(_sample(api, points))
    committed, began = await api.committed(), time.monotonic()
    cpu_edge, cpu_cloud = edge.cpu_s(), cloud.cpu_s()
    said = await ask(
        nodes.generator_socket,
        "run",
        patience=options.seconds * 5 + 60,
        rate=devices / options.period,
        seconds=options.seconds,
        record=str(nodes.generator_socket.with_name("sent")),
    )
    lasted = time.monotonic() - began
    during = await api.committed() - committed
    rss = edge.rss_mb(), cloud.rss_mb()
    cpu_edge, cpu_cloud = edge.cpu_s() - cpu_edge, cloud.cpu_s() - cpu_cloud
    sampling.cancel()
    lost = await _until_complete(api, devices, properties, said["last"], options.patience)
    durable = await api.committed() - committed
    sent, generated = said["sent"] * properties, said["generator_cpu_s"]
    return Result(
        updates_per_s=round(_slope(points)),
        offered_per_s=round(sent / lasted),
        superseded=round(max(0.0, 1 - durable / sent), 4),
        lost=lost,
        cpu_us_per_update_edge=round((cpu_edge - generated) / during * 1e6, 1),
        cpu_us_per_update_cloud=round(cpu_cloud / during * 1e6, 1),
        cpu_us_per_update_generator=round(generated / sent * 1e6, 1),
        rss_mb_edge=round(rss[0], 1),
        rss_mb_cloud=round(rss[1], 1),
    ), points


def _slope(points: list[tuple[float, float]]) -> float:
    """Commits a second between the first and the last sample."""
    (began, before), (ended, after) = points[0], points[-1]
    return (after - before) / (ended - began)


def _tell(result: Result) -> None:
    print(
        f"{result.updates_per_s:,.0f} updates/s durable at the cloud of {result.offered_per_s:,.0f} offered; "
        f"{result.superseded:.2%} superseded, {result.lost} lost\n"
        f"CPU per update: edge {result.cpu_us_per_update_edge} µs, cloud {result.cpu_us_per_update_cloud} µs, "
        f"generator {result.cpu_us_per_update_generator} µs\n"
        f"memory: edge {result.rss_mb_edge} MB, cloud {result.rss_mb_cloud} MB",
        flush=True,
    )


def main() -> None:
    parser = new_parser("throughput", __doc__, epilog=_EPILOG)
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--properties", type=int, default=80, help="of each device (80)")
    parser.add_argument("--period", type=seconds, default=1.0, help="in which every register changes once (1s)")
    parser.add_argument("--seconds", type=seconds, default=20.0, help="how long (20)")
    parser.add_argument("--patience", type=seconds, default=60.0, help="how long to wait for the rest (60)")
    parser.add_argument("--json", action="store_true", help="the last line is one object")
    parser.add_argument("--chart", type=Path, help="write updates/s over time as SVG to this file")
    parser.add_argument("--pids", action="store_true", help="tell the nodes' process ids, for a profiler")
    parser.add_argument("--keep-logs", type=Path, help="copy the nodes' logs into this folder")
    run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
