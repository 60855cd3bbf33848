"""What an adapter package registers, and what the host hands to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from twingateway.adapter.broker import BrokerClient
from twingateway.adapter.driver import Adapter
from twingateway.adapter.webhook import WebhookHandler
from twingateway.errors import DeviceError
from twingateway.twin.identity import DeviceId
from twingateway.twin.model import Model
from twingateway.twin.value import Value


@dataclass(frozen=True, slots=True)
class Device:
    """One device as configured. `settings` is an instance of its adapter kind's `device` model."""

    id: DeviceId
    settings: Any
    model: Model | None = None


class DevicePort(Protocol):
    """How a driver tells its host about its device. All calls return at once."""

    def report(self, values: Mapping[str, Value], time: int | None = None, *, again: bool = False) -> None:
        """Values the device has now. `time`: Unix milliseconds by the device's clock, if it has one. The host
        validates, drops what did not change (unless `again`: a sign of life), versions and replicates; a refused
        value hinders no other. A report also means that the device is online."""
        ...

    def online(self) -> None:
        """The device answers, though nothing is to be reported."""
        ...

    def offline(self, error: DeviceError) -> None:
        """The device is gone; desired values wait until it is back."""
        ...

    def problem(self, error: DeviceError) -> None:
        """Something about the device is wrong though it is there (a message that could not be read): shown as
        `status.source` until the next good report."""
        ...

    def quality(self, bad: Mapping[str, DeviceError]) -> None:
        """The properties whose shown value is not to be relied on at present, and why; all others are good. Shown as
        `status.quality`."""
        ...


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

    def webhook(self, path: str, handler: WebhookHandler) -> None:
        """Serve `POST /{path}` on the node's `webhooks:` listener. Raises InvalidConfig when it has none or the
        path is taken."""
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
