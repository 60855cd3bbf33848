"""Kills real nodes at random moments, again and again under load, and audits everything they had acknowledged.

    python -m interop.killer --kills 200 --side both

An edge whose device counts and remembers, and a cloud with the API; the load are reported values with history and
desired values. At the end:

- every desired value that the API acknowledged was written to the device, or a later one of its property was;
- no desired value was written to the device twice, none after a newer one of its property;
- every reported count is in the cloud's history exactly once; or none at all if the edge was killed within a quarter
  of a second of reading it, or dead already when the device answered (what is not read is acknowledged to nobody);
- the cloud shows what the device has, and each start was ready within 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from interop.counting import WRITABLE, Witness
from interop.processes import Processes, Running
from twingateway.pki.authority import create_authority, issue

READY = 5.0
_SETTLE = 60.0
_UNSURE = 0.25
#: Seconds after its end in which the device may still answer a question of the dead edge; no new one asks as early.
_BEQUEST = 0.3
_TRIES_PER_SECOND = 50


@dataclass(slots=True)
class Result:
    """All the audit's figures; `faults` is empty when nothing was lost or done twice."""

    kills: dict[str, int] = field(default_factory=lambda: {"edge": 0, "cloud": 0})
    acknowledged: int = 0
    refused: int = 0
    written: int = 0
    counted: int = 0
    in_history: int = 0
    unsure: int = 0
    ready_max_s: float = 0.0
    ready_mean_s: float = 0.0
    settled_s: float | None = None
    faults: list[str] = field(default_factory=list)


class Site:
    """Files and processes of both nodes."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._starts = 0
        self.device = folder / "device.socket"
        quic, api = _lasting_port(socket.SOCK_DGRAM), _lasting_port(socket.SOCK_STREAM)
        self.url = f"http://127.0.0.1:{api}/twins/plant"
        create_authority(folder)
        issue(folder, "cloud", hosts=["127.0.0.1"])
        issue(folder, "edge")
        address = f"127.0.0.1:{quic}"
        self._write("cloud", listen={"address": address}, api={"address": f"127.0.0.1:{api}"})
        self._write(
            "edge",
            uplink={"url": f"quic://{address}", "keep_alive": "2s"},
            adapters={"counting": {"device": str(self.device)}},
            devices=["device.yaml"],
            models=["model.yaml"],
        )
        properties: dict[str, Any] = {name: {"type": "integer", "access": "read-write"} for name in WRITABLE}
        properties["count"] = {"type": "integer", "retention": "1d"}
        model = _document("DeviceModel", {"name": "counting", "version": "1"}, {"properties": properties})
        device = _document("Device", {"name": "plant"}, {"adapter": "counting", "model": "counting@1"})
        (folder / "model.yaml").write_text(json.dumps(model))
        (folder / "device.yaml").write_text(json.dumps(device))
        registered = folder / "interop_counting-0.dist-info"
        registered.mkdir()
        (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: interop-counting\nVersion: 0\n")
        (registered / "entry_points.txt").write_text("[twingateway.adapters]\ncounting = interop.counting:ADAPTER\n")

    async def start(self, name: str) -> tuple[Running, float]:
        """The node, ready, and after how many seconds."""
        began = time.monotonic()
        command = [sys.executable, "-m", "twingateway", "run", str(self._folder / f"{name}.yaml")]
        self._starts += 1  # a log of its own for each
        running = await self._processes.start(f"{name}-{self._starts:03}", command, path=[str(self._folder)])
        while '"event": "ready"' not in running.log.read_text():
            running.require_running()
            await asyncio.sleep(0.02)
        return running, time.monotonic() - began

    def _write(self, name: str, **sections: Any) -> None:
        identity = {"certificate": f"{name}.crt", "key": f"{name}.key", "ca": "ca.crt"}
        node = {"node": {"name": name}, "identity": identity, "log": {"format": "json"}, **sections}
        (self._folder / f"{name}.yaml").write_text(json.dumps(node))


class Load:
    """Sets each property to ever higher numbers. `tried`: every number sent; `acknowledged`: those said yes to."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url
        self.acknowledged: dict[str, list[int]] = {name: [] for name in WRITABLE}
        self.refused = 0

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            name = WRITABLE[number % len(WRITABLE)]
            try:
                patch = {"spec": {"desiredProperties": {name: number}}}
                answer = await self._client.patch(self._url, json=patch)
                if answer.status_code in (200, 202):
                    self.acknowledged[name].append(number)
                else:
                    self.refused += 1
            except httpx2.HTTPError:
                self.refused += 1
            await asyncio.sleep(1 / _TRIES_PER_SECOND)


def _lasting_port(kind: socket.SocketKind) -> int:
    """One that nobody is given by chance while the node that listens on it is dead."""
    while True:
        with socket.socket(type=kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


def _copy_logs(folder: Path, to: Path) -> None:
    for log in folder.glob("*.log"):
        (to / log.name).write_bytes(log.read_bytes())


def _document(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "edge.iot.org/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def run(options: argparse.Namespace) -> Result:
    result, witness, chance = Result(), Witness(), random.Random(options.seed)
    readiness: list[float] = []
    edge_killed: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="killer-") as temporary:
        folder = Path(temporary)
        async with Processes(folder) as processes, httpx2.AsyncClient(trust_env=False, timeout=2) as client:
            site = Site(processes, folder)
            server = await witness.serve(site.device)
            running = {name: (await site.start(name))[0] for name in ("cloud", "edge")}
            await _until_settled(client, site.url, {})
            load = Load(client, site.url)
            loading = asyncio.create_task(load.run())
            sides = ["edge", "cloud"] if options.side == "both" else [options.side]
            for kill in range(options.kills):
                await asyncio.sleep(chance.uniform(0.05, options.pause))
                name = chance.choice(sides)
                running[name].require_running()
                running[name].kill()
                killed = time.monotonic()
                await running[name].end()
                if name == "edge":
                    edge_killed.append((killed, time.monotonic()))
                result.kills[name] += 1
                running[name], ready = await site.start(name)
                readiness.append(ready)
                if (kill + 1) % 10 == 0:
                    _progress(result, load, witness)
            loading.cancel()
            counted = len(witness.handed)
            while (
                len(witness.handed) < counted + 5
            ):  # what a started edge reads first it reports even if it is no news
                await asyncio.sleep(0.02)
            witness.counting = False
            settled = await _until_settled(client, site.url, load.acknowledged, witness)
            result.settled_s = settled
            history = await _history(client, site.url, len(witness.handed))
            gaps = await _gaps(client, site.url)
            result.refused, result.ready_max_s = load.refused, round(max(readiness), 2)
            result.ready_mean_s = round(sum(readiness) / len(readiness), 2)
            _audit(result, load, witness, history, edge_killed)
            result.faults += gaps
            server.close()
            if result.faults and options.keep_logs:
                _copy_logs(folder, options.keep_logs)
    return result


async def _twin(client: httpx2.AsyncClient, url: str) -> Any:
    with suppress(httpx2.HTTPError):
        answer = await client.get(url)
        if answer.status_code == 200:
            return answer.json()
    return None


async def _until_settled(
    client: httpx2.AsyncClient, url: str, acknowledged: dict[str, list[int]], witness: Witness | None = None
) -> float | None:
    """Until the twin is there, every desired value is applied and the device has it: seconds, None if it never is."""
    began = time.monotonic()
    while time.monotonic() < began + _SETTLE:
        twin = await _twin(client, url)
        if twin is not None and _is_settled(twin, acknowledged, witness):
            return round(time.monotonic() - began, 2)
        await asyncio.sleep(0.1)
    return None


def _is_settled(twin: Any, acknowledged: dict[str, list[int]], witness: Witness | None) -> bool:
    wanted, reported = twin["spec"]["desiredProperties"], twin["spec"]["reportedProperties"]
    if "count" not in reported or any(numbers and name not in wanted for name, numbers in acknowledged.items()):
        return False
    if witness is None:
        return True
    shown = twin["status"]["properties"]["desired"]
    applied = all((shown[name].get("ack") or {}).get("state") == "applied" for name in wanted)
    return applied and reported["count"] == len(witness.handed) and wanted == {n: witness.values[n] for n in wanted}


async def _history(client: httpx2.AsyncClient, url: str, last: int) -> Counter[int]:
    """How often each count is there, once the last one is (or patience is at its end)."""
    found: Counter[int] = Counter()
    for _ in range(60):
        found = Counter()
        after: str | None = None
        while True:
            params: dict[str, Any] = {"property": "count", "limit": 1000, "from": 0}
            answer = await client.get(
                f"{url}/history", params=params if after is None else {**params, "after": after}
            )
            page = answer.raise_for_status().json()
            found.update(item["value"] for item in page["items"])
            if (after := page["nextAfter"]) is None:
                break
        if last in found:
            break
        await asyncio.sleep(0.5)
    return found


async def _gaps(client: httpx2.AsyncClient, url: str) -> list[str]:
    """What the cloud says that it will never be told of the history."""
    answer = await client.get(url.replace("/twins/plant", "/journal/history"), params={"limit": 1000})
    return [f"the cloud misses history: {item}" for item in answer.raise_for_status().json()["items"]]


def _audit(
    result: Result, load: Load, witness: Witness, history: Counter[int], edge_killed: list[tuple[float, float]]
) -> None:
    faults = result.faults
    result.acknowledged = sum(map(len, load.acknowledged.values()))
    result.written, result.counted, result.in_history = len(witness.written), len(witness.handed), len(history)
    for name, numbers in load.acknowledged.items():
        last_written = max((value for written, value in witness.written if written == name), default=0)
        if numbers and last_written < numbers[-1]:
            faults.append(f"{name}: {numbers[-1]} was acknowledged, the device got {last_written} at last")
        values = [value for written, value in witness.written if written == name]
        faults += [f"{name}: {new} was written after {old}" for old, new in pairwise(values) if new < old]
    faults += [f"{write} was written {times} times" for write, times in Counter(witness.written).items() if times > 1]
    faults += [f"count {count} is in history {times} times" for count, times in history.items() if times > 1]
    for count, at in witness.handed.items():
        if count not in history:
            if any(killed - _UNSURE <= at <= ended + _BEQUEST for killed, ended in edge_killed):
                result.unsure += 1
            else:
                after = at - max((ended for _, ended in edge_killed if ended <= at), default=0.0)
                faults.append(f"count {count}, read {after:.2f} s after the edge was killed, is not in history")
    faults += [f"count {count} was never read" for count in history if count not in witness.handed]
    if result.settled_s is None:
        faults.append(f"not settled {_SETTLE:g} s after the last kill")
    if result.ready_max_s >= READY:
        faults.append(f"ready only after {result.ready_max_s} s")


def _progress(result: Result, load: Load, witness: Witness) -> None:
    acknowledged = sum(map(len, load.acknowledged.values()))
    print(
        f"{sum(result.kills.values())} kills, {acknowledged} acknowledged, {len(witness.written)} written, "
        f"{len(witness.handed)} counted",
        file=sys.stderr,
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m interop.killer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="(200)")
    parser.add_argument("--side", choices=("edge", "cloud", "both"), default="both")
    parser.add_argument("--pause", type=float, default=1.5, help="most seconds between two kills (1.5)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--json", action="store_true", help="the last line is an object with all figures")
    parser.add_argument(
        "--keep-logs", type=Path, help="copy the nodes' logs into this folder when something was lost"
    )
    options: Any = parser.parse_args()
    result = asyncio.run(run(options))
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            print(f"{name:14}{value}")
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
