"""Who tells a root that it was put back to an older copy is heard out before all others.

Such a claimant may hold what the copy gives to another, and all links end as soon as the root takes a new identity.
So it is asked at once what it knows: else whoever comes back first, and holds a device by the copy, is given the
values of the copy, though the root had been told of newer ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from twingateway.errors import ProtocolViolation
from twingateway.gateway.state.locks import DeviceLocks
from twingateway.twin.identity import DeviceId

#: Seconds for which the repair waits for their answers; who is gone by then claims again.
PATIENCE = 5.0

Claimants = set[tuple[DeviceId, str]]
"""Devices, each with a node that claims it."""


class Hearing:
    """`undecided` are the claims that are to be judged; `is_waited_for` tells whether any of these is being judged,
    or its claimant is to answer."""

    def __init__(
        self, locks: DeviceLocks, undecided: Callable[[], Claimants], is_waited_for: Callable[[Claimants], bool]
    ) -> None:
        self._locks = locks
        self._undecided = undecided
        self._is_waited_for = is_waited_for
        self._put_off: list[Callable[[], None]] = []
        self._progress = asyncio.Event()

    def put_off(self, claim: Callable[[], None]) -> None:
        """A claim told that the root was put back: it is to be made again when everything is in doubt."""
        self._put_off.append(claim)

    def progressed(self) -> None:
        """Claims were judged, or a claimant has answered."""
        self._progress.set()

    async def hear_out(self) -> None:
        """Judge what was put off; returns when what the claimants answered is adopted, or after a while."""
        put_off, self._put_off = self._put_off, []
        for claim in put_off:
            with suppress(ProtocolViolation):  # who claims too much will do so again
                claim()
        claimed = self._undecided() if put_off else set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while claimed and self._is_waited_for(claimed):
                    self._progress.clear()
                    await self._progress.wait()
                async with self._locks.hold(device for device, _ in claimed):
                    pass  # who adopts an answer holds the device's lock
