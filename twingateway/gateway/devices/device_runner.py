"""Keeps one device's driver running: supervises it, backs off, and says when it will try again."""

from __future__ import annotations

import asyncio
import random

import structlog

from twingateway.adapter.driver import Driver
from twingateway.errors import AdapterFault, DeviceError, DeviceUnreachable, TwinGatewayError
from twingateway.gateway.devices.reporter import Reporter
from twingateway.gateway.state.clock import Clock
from twingateway.twin.identity import DeviceId

log = structlog.get_logger("device")

#: Seconds between two runs of a driver that failed: doubling from the first to the second.
BACK_OFF = (1.0, 60.0)
#: Seconds that a driver has to release what it uses.
CLOSE_TIMEOUT = 1.5


class DeviceRunner:
    """One device and its driver."""

    def __init__(self, device: DeviceId, driver: Driver, reporter: Reporter, clock: Clock) -> None:
        self.device = device
        self.driver = driver
        self.reporter = reporter
        self._clock = clock
        self._delay = BACK_OFF[0]
        self._is_closed = False

    async def run(self) -> None:
        try:
            while True:
                error = await self._run_once()
                pause = self._next_pause()
                self.reporter.fail(error, self._clock.wall_ms() + int(pause * 1000))
                await asyncio.sleep(pause)
        finally:
            await self.close()

    async def close(self) -> None:
        """Once: `run` does it, unless it never began."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.driver.close()
        except Exception as error:
            log.warning("a device was not closed cleanly", device=str(self.device), reason=repr(error))

    async def _run_once(self) -> TwinGatewayError:
        try:
            await self.driver.run()
        except DeviceError as error:
            return error
        except Exception as error:
            log.exception("adapter fault", device=str(self.device))
            return AdapterFault(f"the adapter failed: {type(error).__name__}: {error}")
        return DeviceUnreachable("the adapter stopped listening to the device")

    def _next_pause(self) -> float:
        if self.reporter.is_online:
            self._delay = BACK_OFF[0]
        pause = self._delay * random.uniform(0.8, 1.2)
        self._delay = min(self._delay * 2, BACK_OFF[1])
        return pause
