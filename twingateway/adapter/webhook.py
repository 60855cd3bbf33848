"""Requests that vendors' services send to us, on the node's own `webhooks:` listener."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """One authenticated request; the body is within the listener's size limit. Header names are lower case."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    status: int = 204
    body: bytes = b""
    content_type: str = "application/json"


#: Raise InvalidValue or MalformedText to answer 400 with the reason.
WebhookHandler = Callable[[WebhookRequest], Awaitable[WebhookResponse]]
