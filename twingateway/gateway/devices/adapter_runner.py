"""One adapter of this node: opened, and tried again with growing pauses while it cannot be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import structlog

from twingateway.adapter.driver import Adapter
from twingateway.adapter.kind import AdapterContext, AdapterKind
from twingateway.errors import TwinGatewayError
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger

log = structlog.get_logger("adapter")

#: Seconds between two attempts to open an adapter: doubling from the first to the second.
BACK_OFF = (1.0, 60.0)
#: Seconds that an adapter has to stop.
STOP_TIMEOUT = 2.0


class AdapterRunner:
    """`adapter` is None while it is not open; `error` then says why, and `next_try` (Unix milliseconds) when it is
    tried again."""

    def __init__(
        self, kind: AdapterKind, settings: Any, context: AdapterContext, ledger: Ledger, clock: Clock
    ) -> None:
        self.kind = kind
        self.adapter: Adapter | None = None
        self.error = ""
        self.next_try: int | None = None
        self._settings = settings
        self._context = context
        self._ledger = ledger
        self._clock = clock

    async def open(self) -> bool:
        """Whether it is open now; what went wrong is told once."""
        adapter, name = None, self.kind.name
        try:
            adapter = self.kind.open(self._settings, self._context)
            await adapter.start()
        except Exception as error:
            if adapter is not None:
                await _stop_quietly(adapter, name)
            if reason_of(error) != self.error:
                self.error = reason_of(error)
                message = f"the adapter {name} could not be opened: {self.error}"
                self._ledger.notice("adapter-fault", message, adapter=name)
            return False
        if self.error:
            self._ledger.notice("adapter-opened", f"the adapter {name} could be opened now", adapter=name)
        self.adapter, self.error, self.next_try = adapter, "", None
        return True

    async def reopen(self, waiting: Callable[[], None]) -> None:
        """Returns when it is open; `waiting` is called before each pause."""
        pause = BACK_OFF[0]
        while self.adapter is None:
            wait = pause * random.uniform(0.8, 1.2)
            self.next_try = self._clock.wall_ms() + int(wait * 1000)
            waiting()
            await asyncio.sleep(wait)
            await self.open()
            pause = min(2 * pause, BACK_OFF[1])

    async def stop(self) -> None:
        if self.adapter is not None:
            await _stop_quietly(self.adapter, self.kind.name)


def reason_of(error: Exception) -> str:
    return error.message if isinstance(error, TwinGatewayError) else f"{type(error).__name__}: {error}"


async def _stop_quietly(adapter: Adapter, name: str) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await adapter.stop()
    except Exception as error:
        log.warning("an adapter did not stop cleanly", adapter=name, reason=reason_of(error))
