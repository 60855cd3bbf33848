"""What a service manager is told of this process, by the protocol of systemd's sd_notify; without one, nothing.

`NOTIFY_SOCKET` names a datagram socket, `WATCHDOG_USEC` how often it wants to hear that the event loop turns.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger("node")


class ServiceManager:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        is_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._patience = int(environ.get("WATCHDOG_USEC") or 0) / 1e6 if is_for_us else 0.0

    def ready(self) -> None:
        self._tell("READY=1")

    def reloading(self) -> None:
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    async def keep_watching(self) -> None:
        """Tell it twice within its patience that this process is alive."""
        while self._address and self._patience:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._patience / 2)

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.setblocking(False)
                way.sendto(text.encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told", text=text, reason=str(error))
