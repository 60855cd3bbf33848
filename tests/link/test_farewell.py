"""The peer is told that a link is over, and why, though packets are lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.link.recorder import Recorder
from tests.link.test_quic_link import write_hello
from twingateway.ports.link import CONTROL_STREAM

pytestmark = pytest.mark.hurried


async def test_a_close_with_a_code_reaches_the_peer_as_an_error_even_if_the_first_packet_is_lost(make_site):
    site = await make_site()
    client, server = await site.dial(Recorder(on_connected=write_hello))
    server.link.write(CONTROL_STREAM, b"welcome")
    await client.until(lambda: client.streams)
    while client.link.unsent(CONTROL_STREAM):
        await asyncio.sleep(0.005)
    site.relay.conditions.cut = True
    client.link.close(0x9C, "use another server " * 30)
    await client.until(lambda: client.closings)
    site.relay.conditions.cut = False
    server.link.write(CONTROL_STREAM, b"are you there?")
    await server.until(lambda: server.closings)
    assert "use another server" in server.closings[0].message
    assert "0x9c" in server.closings[0].message
