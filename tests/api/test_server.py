"""The server's life: it binds, names what it cannot have, and ends although clients would stay for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.api.site import follow, node_with_pump, served
from twingateway.api.server import GRACE, ApiServer
from twingateway.errors import DeviceUnreachable, InvalidConfig
from twingateway.testing.joined import until
from twingateway.twin.identity import DeviceId

pytestmark = pytest.mark.hurried


async def test_stopping_answers_those_who_wait_and_ends_the_streams():
    node = node_with_pump()
    node.machines["pump"].error = DeviceUnreachable("nobody answers")
    async with served(node) as (site, server):

        async def to_the_end():
            async with follow(site.client) as stream:
                async for _ in stream:
                    pass

        streams = [asyncio.create_task(to_the_end()) for _ in range(3)]
        patch = {"spec": {"desiredProperties": {"speed": 1}}}
        waiting = asyncio.create_task(site.client.patch("/twins/pump?wait=60s", json=patch))
        await until(lambda: len(site.gateway.events._listeners) == 4)
        await until(lambda: site.gateway.queries.ack(DeviceId("default", "pump"), "speed") is not None)
        async with asyncio.timeout(GRACE + 3):
            await server.stop()
            await asyncio.gather(*streams)
            assert (await waiting).status_code == 202


async def test_stopping_does_not_wait_for_one_who_never_finishes_sending():
    async with served() as (_, server):
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(b"PATCH /twins/pump HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        async with asyncio.timeout(GRACE + 3):
            await server.stop()
        writer.close()


async def test_head_is_answered_without_a_body():
    async with served() as (site, _):
        whole = await site.client.get("/twins/pump")
        head = await site.client.head("/twins/pump")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        stream = await site.client.head("/events")
        assert stream.status_code == 405


async def test_a_broken_request_disturbs_nobody():
    async with served() as (site, server):
        for data in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000):
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(data)
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionError):
                    assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()
        assert (await site.client.get("/twins/pump")).status_code == 200


async def test_an_address_that_cannot_be_had_is_named():
    async with served() as (site, server):
        host, port = server.address
        other = ApiServer(site.gateway, host, port, token=None)
        with pytest.raises(InvalidConfig, match=f"api.address: {host}:{port}"):
            await other.start()
