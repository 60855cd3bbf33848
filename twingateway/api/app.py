"""The HTTP API as one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware

from twingateway import __version__
from twingateway.api import events, health, models, nodes, problems, twins
from twingateway.api.access import bearer
from twingateway.gateway.gateway import Gateway


def create_app(gateway: Gateway, token: str | None = None) -> FastAPI:
    """`token`: what clients must send; None lets everyone in (loopback only)."""
    app = FastAPI(title="twingateway", version=__version__, summary=f"Twins at {gateway.name}")
    app.state.gateway = gateway
    problems.install(app)
    if token is not None:
        app.add_middleware(BaseHTTPMiddleware, dispatch=bearer(token))
    for part in (twins, models, events, nodes, health):
        app.include_router(part.router)
    return app
