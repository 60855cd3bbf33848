"""Where a host is: asked anew for each dial, and as long as nobody can tell, where it was last.

The name server is often behind the very link that is down. A dial that waited for it, or failed for want of it, would
not ask the parent meanwhile; so a way that is free again would be found later by name than by address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import structlog

#: Seconds that an answer may take where one is known from before.
PATIENCE = 0.5

Address = tuple[int, Any]
"""The family, and what a socket of that family connects to."""

_log = structlog.get_logger(__name__)


class Whereabouts:
    """Of one host and port, for sockets of one `kind` (`socket.SOCK_DGRAM`, `socket.SOCK_STREAM`)."""

    def __init__(self, host: str, port: int, kind: socket.SocketKind) -> None:
        self._host = host
        self._port = port
        self._kind = kind
        self._known: Sequence[Address] = ()
        self._asking: asyncio.Task[None] | None = None

    async def find(self) -> Sequence[Address]:
        """All addresses, in the order in which to try them. Raises OSError if none was ever known."""
        if self._asking is None:  # a question that hangs keeps a thread busy: there is never more than one
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        if self._known:
            await asyncio.wait({self._asking}, timeout=PATIENCE)
        else:
            await asyncio.shield(self._asking)
        return self._known

    async def _ask(self) -> None:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=self._kind)
            self._known = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        except OSError as problem:
            if not self._known:
                raise
            _log.info("name not resolved, its last addresses are tried", host=self._host, problem=str(problem))
        finally:
            self._asking = None
