"""The relay does to packets what its conditions say."""

from __future__ import annotations

import asyncio

import pytest

from twingateway.demo.relay import Conditions, Relay


class Socket(asyncio.DatagramProtocol):
    """A UDP socket that keeps what it receives, and answers if it is told to."""

    def __init__(self, answer: bool = False) -> None:
        self.answer = answer
        self.got: list[tuple[bytes, tuple[str, int], float]] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, addr) -> None:
        self.got.append((data, addr, asyncio.get_running_loop().time()))
        if self.answer:
            self.transport.sendto(b"re:" + data, addr)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.got) < count:
                await asyncio.sleep(0.002)


@pytest.fixture
async def network():
    """Makes (client, server, relay)."""
    opened = []

    async def make(conditions=None, seed=1):
        loop = asyncio.get_running_loop()
        _, server = await loop.create_datagram_endpoint(lambda: Socket(answer=True), local_addr=("127.0.0.1", 0))
        relay = await Relay.start(server.transport.get_extra_info("sockname"), conditions=conditions, seed=seed)
        _, client = await loop.create_datagram_endpoint(Socket, remote_addr=relay.address)
        opened.extend((server.transport, relay, client.transport))
        return client, server, relay

    yield make
    for thing in opened:
        thing.close()


async def test_packets_and_answers_pass_with_the_delay_each_way(network):
    client, _, _ = await network(Conditions(delay=0.05))
    start = asyncio.get_running_loop().time()
    client.transport.sendto(b"x")
    await client.until(1)
    assert client.got[0][0] == b"re:x"
    assert client.got[0][2] - start >= 0.099


@pytest.mark.parametrize("burst", [1, 8])
async def test_about_the_share_asked_for_is_lost_alone_or_in_bursts(network, burst):
    client, server, relay = await network(Conditions(loss=0.3, burst=burst))
    server.answer = False  # what chance says of an answer depends on when it comes
    async with asyncio.timeout(5):
        for number in range(1000):
            client.transport.sendto(b"%d" % number)
            while relay.up.packets <= number - 50:  # a socket holds few that nobody has read
                await asyncio.sleep(0.002)
        while relay.up.packets < 1000 or len(server.got) < relay.up.packets - relay.up.lost:
            await asyncio.sleep(0.002)
    arrived = {int(data) for data, _, _ in server.got}
    assert 0.18 < relay.up.lost / relay.up.packets < 0.42
    gaps = sum(1 for number in range(1, 1000) if number not in arrived and number - 1 in arrived)
    mean_gap = (1000 - len(arrived)) / gaps
    assert (mean_gap < 2) if burst == 1 else (mean_gap > 4)


async def test_nothing_passes_a_cut(network):
    client, server, relay = await network(Conditions(cut=True))
    client.transport.sendto(b"x")
    await asyncio.sleep(0.05)
    assert server.got == []
    relay.conditions.cut = False
    client.transport.sendto(b"y")
    await server.until(1)
    assert server.got[0][0] == b"y"


async def test_the_rate_holds_and_what_would_wait_too_long_is_lost(network):
    client, server, relay = await network(Conditions(rate=100_000, queue=0.1))
    begin = asyncio.get_running_loop().time()
    for _ in range(40):
        client.transport.sendto(bytes(1000))
    async with asyncio.timeout(5):
        while relay.up.packets < 40:
            await asyncio.sleep(0.002)
    meanwhile = 100 * (asyncio.get_running_loop().time() - begin)
    await server.until(relay.up.packets - relay.up.lost)
    assert 9 <= len(server.got) <= 12 + meanwhile
    assert server.got[-1][2] - server.got[0][2] >= 0.08


async def test_rebinding_changes_the_address_that_the_server_sees_and_answers_still_come(network):
    client, server, relay = await network()
    for count in (1, 2, 3):
        client.transport.sendto(b"x")
        await client.until(count)
        relay.rebind()
    assert len({addr for _, addr, _ in server.got}) == 3
