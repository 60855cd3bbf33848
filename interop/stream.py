"""One aioquic stream as a contender: MQTT-like messages, one after the other, under aioquic's own CUBIC.

It shows what QUIC alone gives, without datagrams, without replacing old values by new ones, without a controller that
bears loss. Nothing is stored or validated.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve as serve_quic
from aioquic.quic.configuration import QuicConfiguration

from interop import mqtt311
from interop.control import serve
from interop.workload import Generator, Sightings

PORT = 14567
_ALPN = ["stream"]
#: Seconds; longer than any silence of a measurement.
_IDLE = 600.0


class Values:
    """Splits a stream of PUBLISH packets with QoS 1 into their values."""

    def __init__(self) -> None:
        self._buffer = b""

    def take(self, data: bytes) -> Iterator[int]:
        self._buffer += data
        while len(self._buffer) >= 2 and len(self._buffer) >= 2 + self._buffer[1]:
            body = self._buffer[2 : 2 + self._buffer[1]]
            self._buffer = self._buffer[2 + len(body) :]
            topic = int.from_bytes(body[:2], "big")
            yield int(body[4 + topic :])


async def _cloud(options: argparse.Namespace) -> None:
    sightings = Sightings(options.devices)
    await serve(options.control, {"missing": sightings.missing, "dump": sightings.dump, "since": sightings.since})
    reading = set()

    def on_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        reading.add(asyncio.create_task(_read(reader, sightings)))

    configuration = QuicConfiguration(is_client=False, alpn_protocols=_ALPN, congestion_control_algorithm="cubic")
    configuration.idle_timeout = _IDLE
    configuration.load_cert_chain(options.folder / "cloud.crt", options.folder / "cloud.key")
    await serve_quic(options.address, PORT, configuration=configuration, stream_handler=on_stream)
    await asyncio.Event().wait()


async def _read(reader: asyncio.StreamReader, sightings: Sightings) -> None:
    values = Values()
    while data := await reader.read(1 << 18):
        now = time.monotonic()
        for n in values.take(data):
            sightings.saw(n, now)


async def _edge(options: argparse.Namespace) -> None:
    configuration = QuicConfiguration(is_client=True, alpn_protocols=_ALPN, congestion_control_algorithm="cubic")
    configuration.load_verify_locations(str(options.folder / "ca.crt"))
    configuration.idle_timeout = _IDLE
    async with connect(options.address, PORT, configuration=configuration) as client:
        stream = client._quic.get_next_available_stream_id(is_unidirectional=True)

        def send(device: int, n: int) -> None:
            client._quic.send_stream_data(
                stream, mqtt311.publish(f"d{device}/value", b"%d" % n, (n - 1) % 65_535 + 1)
            )
            client._transmit_soon()

        generator = Generator(options.devices, send)
        await serve(options.control, {"prime": generator.prime, "run": generator.run})
        await client.wait_closed()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m interop.stream", description=__doc__)
    parser.add_argument("side", choices=("edge", "cloud"))
    parser.add_argument("--address", required=True, help="the cloud's")
    parser.add_argument("--folder", type=Path, required=True, help="where cloud.crt, cloud.key and ca.crt are")
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True)
    options = parser.parse_args()
    sides: dict[str, Any] = {"edge": _edge, "cloud": _cloud}
    asyncio.run(sides[options.side](options))


if __name__ == "__main__":
    main()
