"""The connections of one link: opened on demand, again after every loss, each used by one at a time.

An endpoint that does not accept any is left alone for a while (see `quarantine`). One that accepts some, but not as
many as it was said to, is spoken to on those: a connection that cannot be opened, or is closed before its first
reply, while another one works, is one too many, and is not tried again for a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from twingateway.errors import DeviceError, DeviceUnreachable
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.connection import Connection, Tap
from twingateway_modbus.quarantine import Quarantine
from twingateway_modbus.turns import Turns

#: Seconds before a connection that was one too many is tried again.
TOO_MANY_PAUSE = 60.0


class OneTooMany(DeviceUnreachable):
    """The endpoint does not want this connection beside the others. Nothing is wrong with any unit."""


class NotOpened(OneTooMany):
    """So nothing was sent on it."""


class Connections:
    """`most`: see `Turns`. All methods raise DeviceErrors only."""

    def __init__(self, address: AddressSettings, most: Callable[[int], int]) -> None:
        self._address = address
        self.turns = Turns(address.connections, most)
        self._held: list[Connection | None] = [None] * address.connections
        self._restoring: dict[int, asyncio.TimerHandle] = {}
        self.tap: Tap | None = None
        self.endpoint = Quarantine()

    @property
    def alive(self) -> int:
        """How many there are at present."""
        return sum(each is not None and each.alive for each in self._held)

    def at(self, place: int) -> Connection | None:
        """The connection at a place of `turns` that the caller holds, if there is one."""
        connection = self._held[place]
        return connection if connection is not None and connection.alive else None

    async def open(self, place: int, timeout: float) -> Connection:
        """One at a place that the caller holds, and that has none."""
        connection = self._held[place]
        loop = asyncio.get_running_loop()
        began = loop.time()
        free_at = 0.0 if connection is None else connection.free_at
        try:
            connection = await Connection.open(self._address, timeout, free_at)
        except DeviceUnreachable as error:
            if self.alive:
                raise NotOpened(self._withdraw(place, error)) from error
            self.endpoint.failed(error, loop.time(), began)
            raise
        connection.tap = self.tap
        self._held[place] = connection
        self.endpoint.succeeded()
        return connection

    def judge(self, place: int, error: DeviceError) -> DeviceError:
        """`error` of the request at `place`, or that the connection is one too many."""
        connection = self._held[place]
        if connection is None or connection.alive or connection.has_answered or not self.alive:
            return error
        return OneTooMany(self._withdraw(place, error)) if connection.was_closed else error

    def _withdraw(self, place: int, error: DeviceError) -> str:
        self.turns.withdraw(place)
        loop = asyncio.get_running_loop()
        self._restoring[place] = loop.call_later(TOO_MANY_PAUSE, self._restore, place)
        return f"{error.message} (connection {place + 1} of {len(self._held)})"

    def _restore(self, place: int) -> None:
        del self._restoring[place]
        self.turns.restore(place)

    def close(self) -> None:
        for timer in self._restoring.values():
            timer.cancel()
        for place, connection in enumerate(self._held):
            if connection is not None:
                connection.close()
                self._held[place] = None
