"""Bulk load on one link: a sender at the edge that always has more, and a receiver at the cloud that counts.

    python -m interop.bulk quic|tcp edge|cloud --address … --control …

`quic` is one stream of `twingateway.link` with its congestion controller; `tcp` is a kernel socket.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interop.control import serve
from twingateway.errors import LinkError
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_server import listen_quic
from twingateway.link.server_identity import ServerIdentity
from twingateway.ports.link import Link

QUIC_PORT, TCP_PORT = 14568, 14569
_AHEAD = 256 * 1024
_TICK = 0.01


class _Bulk:
    """A link handler that counts what it receives; with `start`, it also keeps the control stream full."""

    received = 0

    def __init__(self) -> None:
        self._link: Link | None = None
        self._sending = False

    def connected(self, link: Link, now: float) -> None:
        self._link = link

    def start(self, now: float) -> None:
        assert self._link is not None
        self._sending = True
        self._link.open_stream()
        self.timer(now)

    def stream_data(self, stream: int, data: bytes, end: bool, now: float) -> None:
        _Bulk.received += len(data)

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        return ()

    def datagram(self, data: bytes, now: float) -> None: ...

    def next_datagram(self, room: int, now: float) -> bytes | None:
        return None

    def timer(self, now: float) -> None:
        if self._link is not None and self._sending:
            lacking = _AHEAD - self._link.unsent(0)
            if lacking > 0:
                self._link.write(0, bytes(lacking))
            self._link.wake(now + _TICK)

    def closed(self, error: LinkError | None, now: float) -> None:
        self._link = None


async def _received() -> dict[str, Any]:
    return {"received": _Bulk.received}


async def _quic_cloud(options: argparse.Namespace) -> None:
    identity = ServerIdentity(options.folder / "cloud.crt", options.folder / "cloud.key")
    await listen_quic(options.address, QUIC_PORT, identity=identity, make_handler=_Bulk)
    await serve(options.control, {"received": _received})
    await asyncio.Event().wait()


async def _quic_edge(options: argparse.Namespace) -> None:
    handler = _Bulk()
    await QuicDialer(options.address, QUIC_PORT, ca_file=options.folder / "ca.crt").dial(handler)

    async def start() -> dict[str, Any]:
        handler.start(asyncio.get_running_loop().time())
        return {}

    await serve(options.control, {"start": start})
    await asyncio.Event().wait()


async def _tcp_cloud(options: argparse.Namespace) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        while data := await reader.read(1 << 16):
            _Bulk.received += len(data)

    await asyncio.start_server(count, options.address, TCP_PORT)
    await serve(options.control, {"received": _received})
    await asyncio.Event().wait()


async def _tcp_edge(options: argparse.Namespace) -> None:
    _, writer = await asyncio.open_connection(options.address, TCP_PORT)
    begin = asyncio.Event()

    async def start() -> dict[str, Any]:
        begin.set()
        return {}

    await serve(options.control, {"start": start})
    await begin.wait()
    while True:
        writer.write(bytes(16_384))
        await writer.drain()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m interop.bulk", description=__doc__)
    parser.add_argument("transport", choices=("quic", "tcp"))
    parser.add_argument("side", choices=("edge", "cloud"))
    parser.add_argument("--address", required=True, help="the cloud's")
    parser.add_argument("--folder", type=Path, required=True, help="where cloud.crt, cloud.key and ca.crt are")
    parser.add_argument("--control", type=Path, required=True)
    options = parser.parse_args()
    what: dict[tuple[str, str], Any] = {
        ("quic", "edge"): _quic_edge,
        ("quic", "cloud"): _quic_cloud,
        ("tcp", "edge"): _tcp_edge,
        ("tcp", "cloud"): _tcp_cloud,
    }
    asyncio.run(what[options.transport, options.side](options))


if __name__ == "__main__":
    main()
