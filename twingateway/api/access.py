"""Who may use the API: anyone on this machine, or whoever has the token.

The token is the node's own, so it opens every namespace that the node holds.
"""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from twingateway.api.problems import problem

#: Answered without a token: whether the node lives and works says nothing about the twins, nor does the page, which
#: asks for them like any other client.
OPEN = frozenset({"/", "/healthz", "/readyz"})

_SCHEME = b"bearer "


class BearerToken:
    """ASGI middleware that asks for `Authorization: Bearer TOKEN` (RFC 6750). It touches neither body, so streams
    pass as they are."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or self._knows_token(scope):
            await self._app(scope, receive, send)
            return
        is_sent = any(name == b"authorization" for name, _ in scope["headers"])
        detail = "what was sent is not the node's API token" if is_sent else "send the node's API token"
        refusal = problem(401, "A token is needed", f"{detail}, as `Authorization: Bearer …`", code="no-token")
        refusal.headers["WWW-Authenticate"] = "Bearer"
        await refusal(scope, receive, send)

    def _knows_token(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or given[0][: len(_SCHEME)].lower() != _SCHEME:
            return False
        return hmac.compare_digest(given[0][len(_SCHEME) :].strip(), self._token)
