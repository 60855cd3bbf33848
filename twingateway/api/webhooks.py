"""The listener for requests that vendors' services send to adapters: its own address, limits and secret.

A caller proves that it knows the secret with `Authorization: Bearer SECRET`, or by signing the body:
`X-Signature-256: sha256=HEX`, the HMAC-SHA256 of the raw body under the secret.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from twingateway.adapter.webhook import WebhookHandler, WebhookRequest
from twingateway.api.body import read_body
from twingateway.api.problems import answer, problem
from twingateway.api.server import HttpServer
from twingateway.errors import InvalidConfig, TwinGatewayError

log = structlog.get_logger("webhooks")


class WebhookApp:
    """An ASGI application: exact path → handler."""

    def __init__(self, secret: str | None, max_body: int) -> None:
        self._secret = None if secret is None else secret.encode()
        self._max_body = max_body
        self._handlers: dict[str, WebhookHandler] = {}

    def add(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        """What is returned takes it off again. Raises InvalidConfig when the path is taken."""
        path = "/" + path.strip("/")
        if path in self._handlers:
            raise InvalidConfig(f"two devices want the webhook {path}; give each a path of its own")
        self._handlers[path] = handler

        def remove() -> None:
            self._handlers.pop(path, None)

        return remove

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            response = await self._respond(request)
            await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            body = await read_body(request, self._max_body)
        except TwinGatewayError as error:
            return answer(error)
        if not self._knows_secret(request, body):
            return problem(401, "The webhook's secret is needed", "sign the body or send the secret as bearer token")
        handler = self._handlers.get(request.url.path.rstrip("/") or "/")
        if handler is None:
            return problem(404, "No such webhook", f"no device listens at {request.url.path}")
        if request.method != "POST":
            return problem(405, "Webhooks are posted", f"{request.method} is not POST")
        return await self._handle(handler, request, body)

    async def _handle(self, handler: WebhookHandler, request: Request, body: bytes) -> Response:
        call = WebhookRequest(
            request.method, request.url.path, body, dict(request.headers), dict(request.query_params)
        )
        try:
            result = await handler(call)
        except TwinGatewayError as error:
            refused = answer(error)
            refused.status_code = 400 if refused.status_code < 500 else 500
            return refused
        except Exception:
            log.exception("adapter fault", webhook=request.url.path)
            return problem(500, "The adapter failed", "see the node's log")
        return Response(result.body, result.status, media_type=result.content_type)

    def _knows_secret(self, request: Request, body: bytes) -> bool:
        if self._secret is None:
            return True
        proofs: dict[str, Callable[[bytes], bytes]] = {
            "authorization": lambda secret: b"Bearer " + secret,
            "x-signature-256": lambda secret: (
                b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
            ),
        }
        given = {name: request.headers.get(name, "").encode() for name in proofs}
        return any(hmac.compare_digest(given[name], proof(self._secret)) for name, proof in proofs.items())


class WebhookServer(HttpServer):
    def __init__(self, host: str, port: int, *, secret: str | None, max_body: int) -> None:
        self._webhooks = WebhookApp(secret, max_body)
        super().__init__(self._webhooks, host, port, "webhooks")

    def add(self, path: str, handler: WebhookHandler) -> Callable[[], None]:
        return self._webhooks.add(path, handler)
