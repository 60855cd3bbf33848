"""What the devices behind one host and port share: a connection, turns on it, and who is in quarantine.

Rule: a unit that cost a time-out or a connection is left alone for a while (1 s, doubling to 30 s), whoever asks for
it, and so is an endpoint that does not accept connections; everybody else goes on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from twingateway.errors import DeviceTimeout, DeviceUnreachable
from twingateway_modbus.connection import Connection
from twingateway_modbus.point import Table
from twingateway_modbus.quarantine import Quarantine
from twingateway_modbus.turns import Turns

T = TypeVar("T")


class Link:
    """Connects on demand, again after every loss. All methods raise DeviceErrors only."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._turns = Turns()
        self._connection: Connection | None = None
        self._endpoint = Quarantine()
        self._units: defaultdict[int, Quarantine] = defaultdict(Quarantine)

    def blocked_for(self, unit: int) -> float:
        """Seconds until `unit` will be asked again, 0 while nothing is wrong with it."""
        now = asyncio.get_running_loop().time()
        return max(self._endpoint.remaining(now), self._units[unit].remaining(now))

    @asynccontextmanager
    async def turn(self, unit: int, timeout: float, *, urgent: bool = False) -> AsyncIterator[Turn]:
        """Nobody else uses the link inside the block; `urgent` goes before all that is not."""
        async with self._turns.turn(urgent=urgent):
            yield Turn(self, unit, timeout)

    async def ask(self, unit: int, timeout: float, request: Callable[[Connection], Awaitable[T]]) -> T:
        """Make one request for `unit`; the caller has the turn."""
        now = asyncio.get_running_loop().time
        quarantine = self._units[unit]
        self._endpoint.check(now())
        quarantine.check(now())
        connection = await self._connected(timeout)
        try:
            answer = await request(connection)
        except DeviceUnreachable as error:
            quarantine.failed(error, now())
            raise
        except DeviceTimeout as error:
            if not connection.alive:
                quarantine.failed(error, now())
            raise
        quarantine.succeeded()
        return answer

    async def _connected(self, timeout: float) -> Connection:
        if self._connection is not None and self._connection.alive:
            return self._connection
        try:
            self._connection = await Connection.open(self._host, self._port, timeout)
        except DeviceUnreachable as error:
            self._endpoint.failed(error, asyncio.get_running_loop().time())
            raise
        self._endpoint.succeeded()
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Turn:
    """The right to make requests for one unit, one after another."""

    def __init__(self, link: Link, unit: int, timeout: float) -> None:
        self._link = link
        self._unit = unit
        self._timeout = timeout

    async def read(self, table: Table, address: int, count: int) -> list[int]:
        """`count` registers or bits."""
        return await self._ask(lambda c: c.read(self._unit, table, address, count, self._timeout))

    async def write_registers(self, address: int, registers: list[int]) -> None:
        """All of them in one request."""
        await self._ask(lambda c: c.write_registers(self._unit, address, registers, self._timeout))

    async def write_coil(self, address: int, on: bool) -> None:
        await self._ask(lambda c: c.write_coil(self._unit, address, on, self._timeout))

    async def _ask(self, request: Callable[[Connection], Awaitable[T]]) -> T:
        return await self._link.ask(self._unit, self._timeout, request)
