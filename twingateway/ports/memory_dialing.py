"""How links in memory come about on the event loop: a listener accepts them, and a dialer makes them to it over a
path, asking again while nobody answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from twingateway.errors import LinkError
from twingateway.ports.hand_clock import Scheduler
from twingateway.ports.link import HandlerFactory, Knocking, Link, LinkHandler
from twingateway.ports.memory_link import CLOSE_PATIENCE, MemoryLink, memory_pair
from twingateway.ports.memory_path import MemoryPath

#: Seconds between two questions of a dial that nobody answers.
ASK_EVERY = 1.0


class MemoryListener:
    """Accepts links that `MemoryDialer`s make to it; implements `twingateway.ports.link.Listener`."""

    def __init__(self, make_handler: HandlerFactory, certificate: bytes = b"memory") -> None:
        self.certificate = certificate
        self.links: list[MemoryLink] = []
        self.open = True
        self._make_handler = make_handler

    @property
    def address(self) -> tuple[str, int]:
        return "memory", 0

    def accept(self, client: LinkHandler, path: MemoryPath, scheduler: Scheduler) -> MemoryLink:
        """The client's end of a new link to this listener."""
        near, far = memory_pair(
            client, self._make_handler(), scheduler=scheduler, path=path, certificate=self.certificate
        )
        self.links = [link for link in self.links if not link.over] + [far]
        return near

    async def close(self) -> None:
        self.open = False
        for link in self.links:
            link.close()
        now = asyncio.get_running_loop().time
        deadline = now() + CLOSE_PATIENCE + 0.5
        while now() < deadline and not all(link.over for link in self.links):
            await asyncio.sleep(0.005)


class MemoryDialer:
    """Makes links to a `MemoryListener` over a path; implements `twingateway.ports.link.Dialer` on the event loop."""

    def __init__(self, listener: MemoryListener, path: MemoryPath | None = None) -> None:
        self.path = path or MemoryPath()
        self.listener = listener
        #: Links made so far, the last one last.
        self.links: list[MemoryLink] = []

    async def dial(self, handler: LinkHandler, knocking: Knocking | None = None) -> Link:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.path.dial_timeout
        while self.path.blocks(up=True) or self.path.blocks(up=False) or not self.listener.open:
            if loop.time() >= deadline:
                raise LinkError("memory does not answer")
            often = knocking is not None and knocking.begin <= loop.time() < max(knocking.end, knocking.hurried)
            await asyncio.sleep(knocking.every if knocking is not None and often else ASK_EVERY)
        told = _Announcing(handler, loop.create_future())
        link = self.listener.accept(told, self.path, loop)
        self.links.append(link)
        await told.told
        return link


class _Announcing:
    """A handler that also says when it was told `connected`."""

    def __init__(self, handler: LinkHandler, told: asyncio.Future[None]) -> None:
        self.told = told
        self._handler = handler
        self.stream_data = handler.stream_data
        self.datagram = handler.datagram
        self.next_datagram = handler.next_datagram
        self.timer = handler.timer

    def early_datagrams(self, rooms: Sequence[int], now: float) -> Sequence[bytes]:
        return ()

    def connected(self, link: Link, now: float) -> None:
        self._handler.connected(link, now)
        if not self.told.done():  # else whoever dialled has given up
            self.told.set_result(None)

    def closed(self, error: LinkError | None, now: float) -> None:
        if self.told.done():
            self._handler.closed(error, now)
        else:
            self.told.set_exception(error or LinkError("memory closed the link"))
