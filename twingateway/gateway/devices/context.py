"""What the node offers to one adapter: the SDK's AdapterContext."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from twingateway.adapter.broker import BrokerClient
from twingateway.adapter.webhook import WebhookHandler
from twingateway.errors import BrokerError, InvalidConfig
from twingateway.gateway.state.clock import Clock

#: Registers a handler under a path, until what it returns is called; raises InvalidConfig when the path is taken.
AddWebhook = Callable[[str, WebhookHandler], Callable[[], None]]


class Context:
    """Bound to one adapter's name. `broker` and `webhooks` are None when the node has no such section."""

    def __init__(
        self,
        adapter: str,
        clock: Clock,
        broker: BrokerClient | None,
        webhooks: AddWebhook | None,
        data_dir: Path | None = None,
    ) -> None:
        self._log = structlog.get_logger("adapter").bind(adapter=adapter)
        self._clock = clock
        self._broker = broker
        self._webhooks = webhooks
        self._data_dir = data_dir

    @property
    def log(self) -> Any:
        return self._log

    @property
    def broker(self) -> BrokerClient:
        if self._broker is None:
            raise BrokerError("this node has no `broker:` section, which devices of this adapter need")
        return self._broker

    def webhook(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        if self._webhooks is None:
            raise InvalidConfig("this node has no `webhooks:` section, which devices of this adapter need")
        return self._webhooks(path, handler)

    @property
    def data_dir(self) -> Path | None:
        return self._data_dir

    def wall_ms(self) -> int:
        return self._clock.wall_ms()
