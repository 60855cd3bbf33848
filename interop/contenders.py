"""The contenders of a comparison: each starts what it consists of at both ends of a link, ready for the generator.

What is common to all: a generator at the edge and an observer at the cloud, spoken to over Unix sockets.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from interop.link import EmulatedLink
from interop.mosquitto import PORT as MQTT_PORT
from interop.mosquitto import start_bridge
from interop.nodes import API_PORT, Nodes
from interop.processes import Processes, Running
from twingateway.pki.authority import create_authority, issue


@dataclass(frozen=True, slots=True)
class Contender:
    """A running one. `generator`, `observer`: their sockets; `measured`: the processes whose CPU time counts."""

    generator: Path
    observer: Path
    measured: list[Running]
    generator_is_apart: bool
    """Whether the generator is a process of its own, whose CPU time is not in that of `measured`."""
    extra: dict[str, Running] = field(default_factory=dict)


Start = Callable[[Processes, Path, EmulatedLink, int], Awaitable[Contender]]


async def _twingateway(processes: Processes, folder: Path, link: EmulatedLink, devices: int) -> Contender:
    inside = {side: link.inside(side) for side in ("edge", "cloud")}
    nodes = Nodes(
        processes,
        folder,
        devices=devices,
        cloud_address=link.cloud_address,
        inside_edge=inside["edge"],
        inside_cloud=inside["cloud"],
    )
    cloud = await nodes.start_one("cloud")
    observer = await observe(processes, folder, link, "events", API_PORT, devices)
    edge = await nodes.start_one("edge")
    return Contender(nodes.generator_socket, observer, [edge, cloud], False, {"edge": edge, "cloud": cloud})


def _mosquitto(congestion_control: str) -> Start:
    async def start(processes: Processes, folder: Path, link: EmulatedLink, devices: int) -> Contender:
        link.use_congestion_control(congestion_control)
        inside_edge, inside_cloud = link.inside("edge"), link.inside("cloud")
        edge, cloud = await start_bridge(processes, folder, inside_edge, inside_cloud, link.cloud_address)
        observer = await observe(processes, folder, link, "mqtt", MQTT_PORT, devices)
        socket = folder / "generator.socket"
        arguments = ["--devices", str(devices), "--control", str(socket)]
        await processes.start_module("publisher", inside_edge, "interop.publisher", *arguments)
        return Contender(socket, observer, [edge, cloud], True)

    return start


async def _aioquic_stream(processes: Processes, folder: Path, link: EmulatedLink, devices: int) -> Contender:
    create_authority(folder)
    issue(folder, "cloud", hosts=[link.cloud_address])
    running, sockets = {}, {}
    for side in ("cloud", "edge"):
        sockets[side] = folder / f"{side}.socket"
        running[side] = await processes.start_module(
            side, link.inside(side), "interop.stream", side, "--address", link.cloud_address,
            "--folder", str(folder), "--devices", str(devices), "--control", str(sockets[side]),
        )  # fmt: skip
    return Contender(sockets["edge"], sockets["cloud"], [*running.values()], False)


async def observe(
    processes: Processes,
    folder: Path,
    link: EmulatedLink,
    source: str,
    port: int,
    devices: int,
) -> Path:
    """Start an observer at the cloud: of `events` or `mqtt`. Returns its socket."""
    socket = folder / "observer.socket"
    arguments = [source, "--port", str(port), "--devices", str(devices), "--control", str(socket)]
    await processes.start_module("observer", link.inside("cloud"), "interop.observer", *arguments)
    return socket


CONTENDERS: dict[str, Start] = {
    "twingateway": _twingateway,
    "mosquitto-bbr": _mosquitto("bbr"),
    "mosquitto-cubic": _mosquitto("cubic"),
    "aioquic-stream": _aioquic_stream,
}


def contenders(text: str) -> list[str]:
    """Names separated by commas, for a command line."""
    names = text.split(",")
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(CONTENDERS)}")
    return names
