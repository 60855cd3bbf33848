"""The HTTP API as one ASGI application."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from twingateway.api import events, handlers, health, history, models, move, nodes, overrides, page, problems, twins
from twingateway.api.access import BearerToken
from twingateway.api.methods import HeadAsGet
from twingateway.api.strict import only_known_parameters
from twingateway.gateway.gateway import Gateway
from twingateway.version import __version__

_DESCRIPTION = """
Device twins: what each device is to be (`desired`) and what it says it is (`reported`).

* Every error is a problem document (RFC 9457) with a stable `code`.
* `?namespace=` chooses the tenant; without it, the node's own. The token is the node's, so it opens all of them.
* Times are Unix milliseconds; versions are `incarnation.epoch.seq`.
* A PATCH may be sent to any node and is made at the root; all other writes are for the root alone, any other node
  answers 409 and names it. The node that holds a device can override its desired values
  (`/twins/{name}/overrides`), also while the root cannot be reached.
"""


def create_app(gateway: Gateway, token: str | None = None) -> FastAPI:
    """`token`: what clients must send; None lets everyone in (loopback only)."""
    app = FastAPI(
        title="twingateway",
        version=__version__,
        summary=f"Twins at {gateway.name}",
        description=_DESCRIPTION,
        docs_url=None,  # both pages load their scripts from the internet
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(only_known_parameters)],
        generate_unique_id_function=lambda route: route.name,
        responses={"default": {"description": "A problem", "content": {problems.MEDIA_TYPE: {}}}},
    )
    app.state.gateway = gateway
    handlers.install(app)
    app.add_middleware(HeadAsGet)
    if token is not None:
        app.add_middleware(BearerToken, token=token)
    for part in (twins, overrides, move, models, events, nodes, health, history, page):
        app.include_router(part.router)
    return app
