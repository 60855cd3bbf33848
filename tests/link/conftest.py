from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.link.authority import Authority
from tests.link.recorder import Recorder
from twingateway.demo.relay import Conditions, Relay
from twingateway.errors import LinkError
from twingateway.link.quic_client import QuicDialer
from twingateway.link.quic_link import QuicLink
from twingateway.link.quic_server import QuicListener, listen_quic
from twingateway.link.server_identity import ServerIdentity


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"), "test-root")


@pytest.fixture(scope="session")
def server_files(authority) -> tuple[Path, Path]:
    return authority.issue("server")


@dataclass
class Site:
    """A listener, a relay before it, and the links made so far."""

    authority: Authority
    listener: QuicListener
    relay: Relay
    server_options: dict[str, Any]
    servers: list[Recorder]
    server_made: asyncio.Event
    links: list[QuicLink] = field(default_factory=list)

    async def dial(self, client: Recorder | None = None, *, direct: bool = False, **options: Any):
        """A connected client and the server's end of its link: two recorders."""
        client = client or Recorder()
        host, port = self.listener.address if direct else self.relay.address
        options = {"ca_file": self.authority.file, **options}
        known = len(self.servers)
        self.server_made.clear()
        self.links.append(await QuicDialer(host, port, **options).dial(client))
        if len(self.servers) == known:
            await self.server_made.wait()
        return client, self.servers[known]


@pytest.fixture
async def make_site(authority, server_files) -> AsyncIterator[Any]:
    """Makes a `Site`: conditions of the relay, seed, what each server handler is given, listener options."""

    async def end(listener: QuicListener) -> None:
        for link in listener._links:
            link.abort(LinkError("the test is over"))
        await listener.close()

    async with contextlib.AsyncExitStack() as stack:

        async def make(
            conditions: Conditions | None = None, *, seed: int = 1, server: Any = Recorder, **options: Any
        ):
            servers: list[Recorder] = []
            made = asyncio.Event()

            def make_handler() -> Recorder:
                servers.append(server())
                made.set()
                return servers[-1]

            certificate, key = server_files
            listener = await listen_quic(
                "127.0.0.1", 0, identity=ServerIdentity(certificate, key), make_handler=make_handler, **options
            )
            stack.push_async_callback(end, listener)
            relay = await Relay.start(listener.address, conditions=conditions, seed=seed)
            stack.callback(relay.close)
            site = Site(authority, listener, relay, options, servers, made)
            stack.callback(lambda: [link._transport.abort() for link in site.links])
            return site

        yield make
