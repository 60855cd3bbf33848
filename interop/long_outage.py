"""An outage at full load on a thin link, with history: state first, the journal behind it, memory flat.

    python -m interop.long_outage

Edge and cloud in one namespace with a relay of 1 Mbit/s between them; 1,000 updates a second over 500 devices, all of
them with history. Needs no root. Exits non-zero when the cloud does not have every device's value within 2 s of the
link's return, when the p99 of live changes after that exceeds 1 s, or when the edge grows by 64 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from interop.command import new_parser, run, tell
from interop.control import aside, ask
from interop.freshness import wait_until_seen
from interop.nodes import Nodes
from interop.outage import caught_up_at
from interop.processes import Processes, Running
from interop.quantities import bits_per_second, seconds
from interop.throughput import free_port
from interop.workload import lateness, read_sightings, read_times
from twingateway.demo.relay import Conditions, Relay

_BEFORE, _LEFT_TO_CONVERGE = 5.0, 2.0
_MOST_GROWTH_MB, _MOST_P99_MS = 64.0, 1000.0


class _WithHistory(Nodes):
    """Both nodes keep history of everything; the edge reaches the cloud through the relay."""

    relay_port = 0

    def _write(self, name: str, **sections: Any) -> None:
        if name == "edge":
            sections["uplink"]["url"] = f"quic://127.0.0.1:{self.relay_port}"
        super()._write(name, journal={"history": "all"}, **sections)


@dataclass(frozen=True, slots=True)
class Result:
    """`live_p99_ms`: of updates made from 2 s after the link's return on. `journal_*`: entries at the end."""

    outage_s: float
    converged_s: float | None
    live_p99_ms: float
    live_max_ms: float
    updates: int
    journal_received: int
    rss_before_mb: float
    rss_growth_mb: float

    @property
    def good(self) -> bool:
        converged = self.converged_s is not None and self.converged_s <= _LEFT_TO_CONVERGE
        return converged and self.live_p99_ms <= _MOST_P99_MS and self.rss_growth_mb <= _MOST_GROWTH_MB


_EPILOG = """\
examples:
  python -m interop.long_outage                        (3 min; the exit status says whether the promises held)
  python -m interop.long_outage --outage 20s --after 20s --rate 200 --devices 100 --json
"""


async def measure(options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="interop-") as temporary:
        folder = Path(temporary)
        quic, api = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        relay = await Relay.start(("127.0.0.1", quic), conditions=Conditions(rate=options.bandwidth / 8))
        _WithHistory.relay_port = relay.address[1]
        async with Processes(folder) as processes:
            nodes = _WithHistory(
                processes, folder, devices=options.devices, cloud_address="127.0.0.1", quic_port=quic, api_port=api
            )
            edge, _ = await nodes.start()
            observer = folder / "observer.socket"
            arguments = ["events", "--port", str(api), "--devices", str(options.devices), "--control", str(observer)]
            await processes.start_module("observer", [], "interop.observer", *arguments)
            try:
                return await processes.during(
                    _measure(options, nodes.generator_socket, observer, relay, edge, folder, api)
                )
            finally:
                relay.close()


async def _measure(
    options: argparse.Namespace, generator: Path, observer: Path, relay: Relay, edge: Running, folder: Path, api: int
) -> Result:
    first = (await ask(generator, "prime"))["last"] + 1
    await wait_until_seen(observer, first - 1, 60)
    lasts = _BEFORE + options.outage + options.after
    how = {"rate": options.rate, "seconds": lasts, "record": str(folder / "sent")}
    running = aside(ask(generator, "run", patience=lasts + 120, **how))
    await asyncio.sleep(_BEFORE)
    before = edge.rss_mb()
    tell(f"no link for {options.outage:g} s; the edge has {before:.0f} MB")
    relay.conditions.cut = True
    most = await _watch(edge, options.outage)
    relay.conditions.cut = False
    back = time.monotonic()
    tell(f"the link is back; {options.after:g} s more; the edge had {most:.0f} MB at most")
    most = max(most, await _watch(edge, options.after))
    last = (await running)["last"]
    await wait_until_seen(observer, last, 15)
    end = time.monotonic()
    await ask(observer, "dump", record=str(folder / "seen"))
    sent, seen = read_times(folder / "sent"), read_sightings(folder / "seen")
    caught_up = caught_up_at(list(enumerate(sent, first)), seen, options.devices, back)
    skipped = sum(at < back + _LEFT_TO_CONVERGE for at in sent)
    live = lateness(sent[skipped:], first + skipped, options.devices, seen, end)
    async with httpx2.AsyncClient(trust_env=False) as client:
        received = (await client.get(f"http://127.0.0.1:{api}/journal")).json()["received"]
    return Result(
        outage_s=options.outage,
        converged_s=None if caught_up is None else round(caught_up - back, 2),
        live_p99_ms=live.percentile_ms(0.99),
        live_max_ms=live.percentile_ms(1.0),
        updates=len(sent),
        journal_received=received,
        rss_before_mb=round(before, 1),
        rss_growth_mb=round(most - before, 1),
    )


async def _watch(edge: Running, duration: float) -> float:
    """The edge's greatest memory meanwhile, MiB."""
    most, until = 0.0, time.monotonic() + duration
    while time.monotonic() < until:
        edge.require_running()
        most = max(most, edge.rss_mb())
        await asyncio.sleep(0.5)
    return most


def main() -> None:
    parser = new_parser("long_outage", __doc__, epilog=_EPILOG)
    parser.add_argument("--outage", type=seconds, default=120.0, help="how long (120s)")
    parser.add_argument("--after", type=seconds, default=60.0, help="how long to go on afterwards (60s)")
    parser.add_argument("--rate", type=float, default=1000, help="updates a second, of all devices (1000)")
    parser.add_argument("--devices", type=int, default=500, help="(500)")
    parser.add_argument("--bandwidth", type=bits_per_second, default=1e6, help="bit/s each way, like 256k (1m)")
    parser.add_argument("--json", action="store_true", help="print one object")
    run(_main(parser.parse_args()))


async def _main(options: argparse.Namespace) -> int:
    result = await measure(options)
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            print(f"{name:18}{value}")
    return 0 if result.good else 1


if __name__ == "__main__":
    main()
