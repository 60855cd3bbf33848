"""uvicorn inside the node's event loop: started and stopped by the node, which also owns the signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from twingateway.errors import InvalidConfig
from twingateway.gateway.gateway import Gateway

#: Seconds that requests under way have when the node stops.
GRACE = 2
#: Milliseconds after which the kernel drops a client that takes nothing of what was sent to it.
UNREAD = 30_000


class _Quiet(uvicorn.Server):
    """A uvicorn server that leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """One ASGI application on one address."""

    def __init__(self, app: Any, host: str, port: int, section: str) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._section = section
        self._server: _Quiet | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens. Raises RuntimeError unless started."""
        if self._socket is None:
            raise RuntimeError("not started")
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    async def start(self) -> None:
        """Returns when requests are answered. Raises InvalidConfig when the address cannot be had."""
        self._socket = self._bind()
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE,
            proxy_headers=False,
            server_header=False,
            ws="none",
        )
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=f"http {self._section}")
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit both
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
        try:
            bound.bind((self._host, self._port))
        except OSError as error:
            bound.close()
            at = f"{self._host}:{self._port}"
            raise InvalidConfig(f"{self._section}.address: {at} cannot be had: {error.strerror}") from error
        return bound


class ApiServer(HttpServer):
    """The node's HTTP API."""

    def __init__(self, gateway: Gateway, host: str, port: int, *, token: str | None) -> None:
        from twingateway.api.app import create_app  # FastAPI: a node with webhooks only needs none of it

        super().__init__(create_app(gateway, token), host, port, "api")
        self._gateway = gateway

    async def stop(self) -> None:
        """Event streams and those who wait for acks are answered first: they would not end by themselves."""
        self._gateway.events.close()
        await super().stop()
