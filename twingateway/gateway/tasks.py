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

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        return self._group.create_task(_guarded(work, name), name=name)


async def _guarded(work: Coroutine[Any, Any, Any], name: str) -> None:
    try:
        await work
    except TwinGatewayError as error:
        log.error("task failed", task=name, code=error.code, reason=error.message)
    except Exception:
        log.exception("task crashed", task=name)
