"""One lock per device, kept only while somebody holds or wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from twingateway.twin.identity import DeviceId


@dataclass(slots=True)
class _Held:
    """`left_behind`: writes of those who gave up."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    left_behind: set[asyncio.Future[None]] = field(default_factory=set)


class DeviceLocks:
    """Whoever reads what the root has written of a device and then writes, holds its lock in between; should he give
    up while his write is under way, it is kept until that is settled."""

    def __init__(self) -> None:
        self._locks: dict[DeviceId, _Held] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def hold(self, devices: Iterable[DeviceId]) -> AsyncIterator[None]:
        """All of them, in one order everywhere, so that no two wait for each other."""
        async with AsyncExitStack() as stack:
            for device in sorted(set(devices)):
                await stack.enter_async_context(self._one(device))
            yield

    def outlast(self, devices: Iterable[DeviceId], write: asyncio.Future[None]) -> None:
        """Whoever holds these now gives up: nobody else is to hold them before `write` is done."""
        for device in self._locks.keys() & set(devices):
            self._locks[device].users += 1
            self._locks[device].left_behind.add(write)
            write.add_done_callback(partial(self._settled, device))

    def _settled(self, device: DeviceId, write: asyncio.Future[None]) -> None:
        self._locks[device].left_behind.discard(write)
        self._leave(device)

    @asynccontextmanager
    async def _one(self, device: DeviceId) -> AsyncIterator[None]:
        held = self._locks.setdefault(device, _Held())
        held.users += 1
        try:
            async with held.lock:
                if held.left_behind:
                    await asyncio.wait(held.left_behind)
                yield
        finally:
            self._leave(device)

    def _leave(self, device: DeviceId) -> None:
        held = self._locks[device]
        held.users -= 1
        if not held.users:
            del self._locks[device]
