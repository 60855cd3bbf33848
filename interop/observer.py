"""The observer at the cloud: follows the product's event stream, or a broker, and notes what it sees and when."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

from interop import mqtt311
from interop.control import Handler, serve
from interop.workload import Sightings

_READ = 1 << 18
_REPORTED = b"event: reported\n"


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)


async def events(port: int) -> AsyncIterator[int]:
    """The values that `GET /events` tells as reported."""
    reader, writer = await _connect(port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: cloud\r\n\r\n")
    rest = b""
    while data := await reader.read(_READ):
        *whole, rest = (rest + data).split(b"\n\n")
        for event in whole:
            if _REPORTED in event:
                yield json.loads(event[event.index(b"data: ") + 6 :])["value"]


async def messages(port: int) -> AsyncIterator[int]:
    """The payloads of everything that is published at a broker."""
    reader, writer = await _connect(port)
    writer.write(mqtt311.connect("observer") + mqtt311.subscribe("#"))
    packets = mqtt311.Reader()
    while data := await reader.read(_READ):
        for payload in packets.payloads(data):
            yield json.loads(payload)["p0"]


async def _main(options: argparse.Namespace) -> None:
    sightings = Sightings(options.devices)
    handlers: dict[str, Handler] = {"missing": sightings.missing, "dump": sightings.dump, "since": sightings.since}
    await serve(options.control, handlers)
    source = {"events": events, "mqtt": messages}[options.source]
    async for n in source(options.port):
        sightings.saw(n, time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m interop.observer", description=__doc__)
    parser.add_argument("source", choices=("events", "mqtt"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
