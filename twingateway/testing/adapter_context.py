"""What a node offers to an adapter, in memory, for adapters' tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twingateway.adapter import BrokerClient, WebhookHandler
from twingateway.errors import BrokerError, InvalidConfig


class MemoryContext:
    """An `AdapterContext`. `webhooks` holds the handlers registered by path."""

    def __init__(self, broker: BrokerClient | None = None, data_dir: Path | None = None) -> None:
        import structlog

        self.log: Any = structlog.get_logger("adapter-test")
        self.webhooks: dict[str, WebhookHandler] = {}
        self.data_dir = data_dir
        self._broker = broker

    @property
    def broker(self) -> BrokerClient:
        if self._broker is None:
            raise BrokerError("this context was made without a broker")
        return self._broker

    def webhook(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        if path in self.webhooks:
            raise InvalidConfig(f"the webhook path {path!r} is taken")
        self.webhooks[path] = handler

        def remove() -> None:
            self.webhooks.pop(path, None)

        return remove

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
