"""Who may use the API: anyone on this machine, or whoever has the token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from twingateway.api.problems import problem

Next = Callable[[Request], Awaitable[Response]]

#: Answered without a token: liveness says nothing about the twins.
OPEN = frozenset({"/healthz", "/readyz"})


def bearer(token: str) -> Callable[[Request, Next], Awaitable[Response]]:
    """Middleware that asks for `Authorization: Bearer TOKEN` (RFC 6750)."""
    expected = f"Bearer {token}".encode()

    async def check(request: Request, call_next: Next) -> Response:
        given = request.headers.get("authorization", "").encode()
        if request.url.path in OPEN or hmac.compare_digest(given, expected):
            return await call_next(request)
        response = problem(401, "A token is needed", "send the node's API token as `Authorization: Bearer …`")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    return check
