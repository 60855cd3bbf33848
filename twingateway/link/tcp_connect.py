"""Opens a TCP connection soon after a path is free again, instead of when the kernel next asks.

The kernel repeats a SYN after ever longer pauses (1, 3, 7 s; Linux lately five times after one second each), and a
connection whose SYN went out more than twice begins with one segment on its way instead of ten, which costs what
follows another round trip. So there is a fresh socket every second, 60 bytes each, and one that nobody answered is
given up before it would ask a third time. Those of the first turn are kept, for a path that takes longer than that.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from twingateway.link.names import Address

#: Seconds after which the next of several addresses is tried beside the one before, and after which all are again:
#: just before the kernel would.
NEXT_ADDRESS_AFTER = 0.25
FRESH_AFTER = 0.9
#: Seconds that a later socket has.
PATIENCE = 1.9


async def connect_tcp(addresses: Sequence[Address]) -> socket.socket:
    """A connected socket, not blocking; asks until it is cancelled. Raises OSError if every address refuses."""
    race = _Race(addresses)
    try:
        return await race.run()
    finally:
        race.end()


class _Race:
    """Sockets to some addresses, the first that is connected wins."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._loop = asyncio.get_running_loop()
        self._addresses = addresses
        self._refused: dict[Address, OSError] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._outcomes: asyncio.Queue[tuple[Address, socket.socket | OSError]] = asyncio.Queue()

    async def run(self) -> socket.socket:
        patience: float | None = None
        while True:
            for address in [address for address in self._addresses if address not in self._refused]:
                attempt = self._loop.create_task(self._attempt(address, patience))
                self._attempts.add(attempt)
                attempt.add_done_callback(self._attempts.discard)
                won = await self._first(FRESH_AFTER if address == self._addresses[-1] else NEXT_ADDRESS_AFTER)
                if won is not None:
                    return won
            patience = PATIENCE

    def end(self) -> None:
        for attempt in self._attempts:
            attempt.cancel()
        while not self._outcomes.empty():
            _, outcome = self._outcomes.get_nowait()
            if isinstance(outcome, socket.socket):
                outcome.close()

    async def _first(self, within: float) -> socket.socket | None:
        """The socket that is connected within so many seconds; None if there is none, or one was refused before."""
        try:
            async with asyncio.timeout(within):
                address, outcome = await self._outcomes.get()
        except TimeoutError:
            return None
        if isinstance(outcome, socket.socket):
            return outcome
        self._refused[address] = outcome
        if len(self._refused) == len(self._addresses):
            raise outcome
        return None

    async def _attempt(self, address: Address, patience: float | None) -> None:
        connecting: socket.socket | None = None
        try:
            connecting = socket.socket(address[0], socket.SOCK_STREAM)
            connecting.setblocking(False)
            async with asyncio.timeout(patience):
                await self._loop.sock_connect(connecting, address[1])
        except BaseException as problem:
            if connecting is not None:
                connecting.close()
            if isinstance(problem, TimeoutError):
                return
            if not isinstance(problem, OSError):
                raise
            self._outcomes.put_nowait((address, problem))
        else:
            self._outcomes.put_nowait((address, connecting))
