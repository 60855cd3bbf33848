"""Background work that must not take the node down when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from twingateway.errors import TwinGatewayError

log = structlog.get_logger("node")


class Tasks:
    """Starts coroutines inside the node's one TaskGroup and logs what they raise."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """Run it until it ends or the node does. After `cancel` nothing new begins."""
        if self._closed:
            work.close()
            return asyncio.get_running_loop().create_task(asyncio.sleep(0), name=name)
        task = self._group.create_task(_guarded(work, name), name=name)
        self._running.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            work.close()  # a task cancelled before its first step never began it

        task.add_done_callback(done)
        return task

    def cancel(self) -> None:
        """End everything (the node stops)."""
        self._closed = True
        for task in self._running:
            task.cancel()


async def _guarded(work: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        await work
    except TwinGatewayError as error:
        log.error("task failed", task=name, code=error.code, reason=error.message)
    except Exception:
        log.exception("task crashed", task=name)
