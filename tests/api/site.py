"""A gateway in memory with the HTTP API before it: in process for plain calls, on a real socket for streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from twingateway.api.app import create_app
from twingateway.api.server import ApiServer
from twingateway.gateway.gateway import Gateway
from twingateway.testing.joined import FakeMachine, MemoryNode

JSON = "application/json"
PROBLEM = "application/problem+json"


@dataclass
class Site:
    node: MemoryNode
    gateway: Gateway
    client: httpx2.AsyncClient

    @property
    def pump(self) -> FakeMachine:
        return self.node.machines["pump"]


def node_with_pump(name: str = "cloud") -> MemoryNode:
    node = MemoryNode(name)
    node.machines["pump"] = FakeMachine({"flow": 1.5}, frozenset({"speed"}))
    return node


@asynccontextmanager
async def in_process(
    node: MemoryNode | None = None, *, token: str | None = None, **running: Any
) -> AsyncIterator[Site]:
    node = node or node_with_pump()
    async with node.running(**running) as gateway:
        transport = httpx2.ASGITransport(app=create_app(gateway, token), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            yield Site(node, gateway, client)


@asynccontextmanager
async def served(
    node: MemoryNode | None = None, *, token: str | None = None, port: int = 0, **running: Any
) -> AsyncIterator[Any]:
    """The site and its server, on a port of this machine."""
    node = node or node_with_pump()
    async with node.running(**running) as gateway:
        server = ApiServer(gateway, "127.0.0.1", port, token=token)
        await server.start()
        try:
            base = "http://{}:{}".format(*server.address)
            async with httpx2.AsyncClient(base_url=base, trust_env=False, timeout=10) as client:
                yield Site(node, gateway, client), server
        finally:
            await server.stop()


@dataclass
class Event:
    id: str = ""
    kind: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    @property
    def value(self) -> Any:
        return self.data.get("value")


@asynccontextmanager
async def follow(
    client: httpx2.AsyncClient, last: str | bytes | None = None, **params: str | list[str]
) -> AsyncIterator[AsyncIterator[Event]]:
    """The event stream, from now on or behind the id `last`."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with client.stream("GET", "/events", headers=headers, params=params) as response:
        assert response.status_code == 200
        yield _events(response)


async def _events(response: httpx2.Response) -> AsyncIterator[Event]:
    """What an event stream says, block by block."""
    event = Event()
    async for line in response.aiter_lines():
        name, _, text = line.partition(":")
        if not line:
            yield event
            event = Event()
        elif not name:
            event.comments.append(text.strip())
        elif name == "data":
            event.data = json.loads(text)
        else:
            setattr(event, {"id": "id", "event": "kind"}[name], text.strip())


def problem_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    assert response.headers["content-type"] == PROBLEM
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return body
