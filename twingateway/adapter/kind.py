"""What an adapter package registers, and what the host hands to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from twingateway.adapter.broker import BrokerClient
from twingateway.adapter.driver import Adapter
from twingateway.adapter.webhook import WebhookHandler


class AdapterContext(Protocol):
    """What the node offers to an adapter."""

    @property
    def log(self) -> Any:
        """A structlog logger bound to the adapter's name."""
        ...

    @property
    def broker(self) -> BrokerClient:
        """The node's local broker. Raises BrokerError when the node has no `broker:` section."""
        ...

    def webhook(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        """Serve `POST /{path}` on the node's `webhooks:` listener until what is returned is called. Raises
        InvalidConfig when it has none or the path is taken."""
        ...

    @property
    def data_dir(self) -> Path | None:
        """Where the adapter may keep files of its own across restarts; made by whoever writes there first. None: this
        host keeps nothing."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """The object behind an entry point of the group `twingateway.adapters`.

    Importing the module that holds it must be cheap: the protocol library is imported inside `open`.

    settings: pydantic model of `adapters: {name: …}` in the node file.
    device: pydantic model of a device document's `spec` without `adapter` and `model`; by custom it has `address`
        and `properties`. Both forbid unknown keys.
    open: makes the adapter; must not do I/O.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    device: type[BaseModel]
    open: Callable[[Any, AdapterContext], Adapter]
