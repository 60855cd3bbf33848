"""What is sent as a body and is none: each is refused with its reason, and nothing is changed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.api.site import in_process, problem_of, served
from twingateway.api.body import MAX_BODY

pytestmark = pytest.mark.hurried


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed-text"),
        (b"speed: 20", 400, "malformed-text"),
        (b'{"spec":', 400, "malformed-text"),
        (b"\xff\xfe\x00\x01", 400, "malformed-text"),
        (b'{"spec":{"desiredProperties":{"speed":1,"speed":2}}}', 400, "malformed-text"),
        (b'{"spec":{"desiredProperties":{"speed":NaN}}}', 400, "malformed-text"),
        (b'{"spec":{"desiredProperties":{"speed":-Infinity}}}', 400, "malformed-text"),
        (b'{"spec":{"desiredProperties":{"speed":' + b"9" * 5000 + b"}}}", 400, "malformed-text"),
        (b'{"spec":{"desiredProperties":{"speed":1e999}}}', 422, "invalid-value"),
        (b'{"spec":{"desiredProperties":{"speed":9007199254740993}}}', 422, "invalid-value"),
        (b'{"spec":{"desiredProperties":{"speed":"\\ud800"}}}', 422, "invalid-value"),
        (b'{"metadata":{"labels":{"site":"\\ud800"}}}', 422, "invalid-value"),
        (b'{"metadata":{"labels":{"\\ud800":"north"}}}', 422, "invalid-value"),
        (b"[" * 100_000, 413, "too-large"),
        (b"[" * 100 + b"]" * 100, 413, "too-large"),
        (b"[]", 422, "invalid-document"),
        (b"null", 422, "invalid-document"),
        (b'"speed"', 422, "invalid-document"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
async def test_a_bad_patch(body, status, code):
    async with in_process() as site:
        problem_of(await site.client.patch("/twins/pump", content=body), status, code)
        assert (await site.client.get("/twins/pump/desired")).json() == {}
        assert "labels" not in (await site.client.get("/twins/pump")).json()["metadata"]


async def test_a_value_deeper_than_sixteen_levels_is_named():
    value: object = 1
    for _ in range(17):
        value = [value]
    async with in_process() as site:
        body = json.dumps({"spec": {"desiredProperties": {"speed": value}}})
        problem = problem_of(await site.client.patch("/twins/pump", content=body), 422, "invalid-document")
        assert problem["problems"][0]["path"].startswith("spec.desiredProperties.speed")
        assert problem["problems"][0]["rule"] == "depth"


async def test_a_large_body_is_refused_before_it_is_read():
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b" " * 65536

    async with in_process() as site:
        problem_of(await site.client.patch("/twins/pump", content=endless()), 413, "too-large")
        assert read <= MAX_BODY // 65536 + 2


@pytest.mark.parametrize("length", ["262145", "9" * 30])
async def test_an_announced_length_is_refused_unread(length):
    async with served() as (_, server):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"PATCH /twins/pump HTTP/1.1\r\nHost: x\r\nContent-Length: " + length.encode() + b"\r\n\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n")
        writer.close()
        assert head.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
