"""Links in memory come about on the event loop, and end there."""

from __future__ import annotations

import asyncio

import pytest

from tests.ports.test_memory_link import End
from twingateway.errors import LinkError
from twingateway.ports.memory_dialing import MemoryDialer, MemoryListener
from twingateway.ports.memory_path import MemoryPath


async def test_dialer_and_listener_on_the_event_loop():
    servers = []

    def make_handler():
        servers.append(End())
        return servers[-1]

    listener = MemoryListener(make_handler, certificate=b"DER")
    client = End()
    dialer = MemoryDialer(listener, MemoryPath(delay=0.001))
    link = await dialer.dial(client)
    assert client.calls[0][0] == "connected"
    assert link.server_certificate == b"DER"
    link.write(link.open_stream(), b"hello")
    async with asyncio.timeout(20):
        while not servers[0].heard:
            await asyncio.sleep(0.001)
    await listener.close()
    async with asyncio.timeout(20):
        while not client.kinds("closed"):
            await asyncio.sleep(0.001)
    with pytest.raises(LinkError, match="does not answer"):
        await dialer.dial(End())
