"""One lock per device, kept only while somebody holds or wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from twingateway.twin.identity import DeviceId


@dataclass(slots=True)
class _Held:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class DeviceLocks:
    """Whoever reads what the root has written of a device and then writes, holds its lock in between."""

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

    @asynccontextmanager
    async def _one(self, device: DeviceId) -> AsyncIterator[None]:
        held = self._locks.setdefault(device, _Held())
        held.users += 1
        try:
            async with held.lock:
                yield
        finally:
            held.users -= 1
            if not held.users:
                del self._locks[device]
