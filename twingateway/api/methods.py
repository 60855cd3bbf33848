"""HEAD and OPTIONS, for every route alike.

HEAD is answered as GET (the server leaves the body out), except for `/events`, which would never end. OPTIONS tells
the methods of a path; it names no foreign origins, so that no web page of somebody else's can write here.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

_ENDLESS = frozenset({"/events"})
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HeadAsGet:
    """ASGI middleware; the server below knows that the request was HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] not in _ENDLESS:
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def allowed(routes: list[BaseRoute], scope: Scope) -> str:
    """What the `Allow` header of this path says."""
    methods = {
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }
    if "GET" in methods and scope["path"] not in _ENDLESS:
        methods.add("HEAD")
    return ", ".join(sorted(methods | {"OPTIONS"}))


def options(allow: str) -> Response:
    return Response(status_code=204, headers={"Allow": allow})
