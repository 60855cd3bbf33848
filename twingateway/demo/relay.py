"""A bad network in one process: a UDP relay that loses, delays, reorders, throttles, cuts, and changes addresses.

Clients send to the relay's address; each gets an upstream socket of its own, as behind a NAT. Chances are drawn
from a seeded generator, so that a run can be repeated as far as the event loop allows.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, cast


@dataclass(slots=True)
class Conditions:
    """What the network does to each packet, in both directions; may be changed at any time.

    `delay`, `jitter`: seconds one way (jitter is added evenly between 0 and itself, and reorders). `loss`: share of
    packets lost; `burst`: mean number of packets lost together (1: independently). `rate`: bytes per second in each
    direction, None for no limit; `queue`: seconds that may wait for it. `cut`: nothing passes.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    rate: float | None = None
    queue: float = 0.3
    cut: bool = False


@dataclass(slots=True)
class Traffic:
    """What one direction has seen so far, in packets and bytes."""

    packets: int = 0
    lost: int = 0
    size: int = 0


class _Direction:
    """One way through the network."""

    def __init__(self, conditions: Conditions, chance: random.Random) -> None:
        self.traffic = Traffic()
        self._conditions = conditions
        self._chance = chance
        self._free_at = 0.0
        self._in_burst = False

    def departs_in(self, size: int, now: float) -> float | None:
        """Seconds until a packet that has come now leaves again; None if it is lost."""
        conditions, traffic = self._conditions, self.traffic
        traffic.packets += 1
        traffic.size += size
        wait = 0.0
        lost = conditions.cut or self._is_lost()
        if not lost and conditions.rate is not None:
            wait = max(self._free_at - now, 0.0)
            lost = wait > conditions.queue
            if not lost:
                wait += size / conditions.rate
                self._free_at = now + wait
        if lost:
            traffic.lost += 1
            return None
        return wait + conditions.delay + conditions.jitter * self._chance.random()

    def _is_lost(self) -> bool:
        loss, burst = self._conditions.loss, self._conditions.burst
        if burst <= 1:
            return self._chance.random() < loss
        leave = 1 / burst
        enter = leave * loss / max(1 - loss, 1e-9)
        self._in_burst = self._chance.random() >= leave if self._in_burst else self._chance.random() < enter
        return self._in_burst


class _Upstream(asyncio.DatagramProtocol):
    """The socket through which one client's packets go to the server."""

    def __init__(self, relay: Relay, client: Any) -> None:
        self._relay = relay
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.pass_down(data, self._client)

    def error_received(self, exc: Exception) -> None:
        """The server's port is closed for now: the packet is lost."""


class Relay(asyncio.DatagramProtocol):
    """Use `await Relay.start(server)`, then send to `address` instead of to the server."""

    def __init__(self, server: tuple[str, int], conditions: Conditions, seed: int) -> None:
        chance = random.Random(seed)
        self.conditions = conditions
        self._server = server
        self._up = _Direction(conditions, chance)
        self._down = _Direction(conditions, chance)
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.DatagramTransport | None = None
        self._upstreams: dict[Any, asyncio.Future[asyncio.DatagramTransport]] = {}

    @classmethod
    async def start(
        cls,
        server: tuple[str, int],
        *,
        conditions: Conditions | None = None,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> Relay:
        loop = asyncio.get_running_loop()
        conditions = conditions if conditions is not None else Conditions()
        _, relay = await loop.create_datagram_endpoint(lambda: cls(server, conditions, seed), local_addr=(host, port))
        return relay

    @property
    def address(self) -> tuple[str, int]:
        assert self._socket is not None
        host, port = self._socket.get_extra_info("sockname")[:2]
        return host, port

    @property
    def up(self) -> Traffic:
        """Traffic from clients to the server."""
        return self._up.traffic

    @property
    def down(self) -> Traffic:
        """Traffic from the server to clients."""
        return self._down.traffic

    def rebind(self) -> None:
        """Give every client a new address towards the server, as a NAT that forgot it; the old ones go dead."""
        for opened in self._upstreams.values():
            opened.add_done_callback(_abort)
        self._upstreams.clear()

    def close(self) -> None:
        self.rebind()
        if self._socket is not None:
            self._socket.close()

    # --- asyncio's datagram protocol, on the clients' side --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        wait = self._up.departs_in(len(data), self._loop.time())
        if wait is not None:
            self._loop.call_later(wait, self._pass_up, data, addr)

    def error_received(self, exc: Exception) -> None:
        """A client's port is closed: the packet is lost."""

    # --- passing --------------------------------------------------------------------------------------------------

    def _pass_up(self, data: bytes, client: Any) -> None:
        assert self._socket is not None
        if self._socket.is_closing():
            return
        if client not in self._upstreams:
            self._upstreams[client] = self._loop.create_task(self._open(client))
        self._upstreams[client].add_done_callback(lambda opened: _send(opened, data, self._server))

    async def _open(self, client: Any) -> asyncio.DatagramTransport:
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Upstream(self, client), local_addr=(self.address[0], 0)
        )
        return transport

    def pass_down(self, data: bytes, client: Any) -> None:
        """A packet from the server for this client has come."""
        wait = self._down.departs_in(len(data), self._loop.time())
        if wait is not None:
            self._loop.call_later(wait, self._deliver, data, client)

    def _deliver(self, data: bytes, client: Any) -> None:
        if self._socket is not None and not self._socket.is_closing():
            self._socket.sendto(data, client)


def _send(opened: asyncio.Future[asyncio.DatagramTransport], data: bytes, server: tuple[str, int]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().sendto(data, server)


def _abort(opened: asyncio.Future[asyncio.DatagramTransport]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().abort()
