"""`/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from twingateway.api.metrics import CONTENT_TYPE, render
from twingateway.api.params import TheGateway
from twingateway.api.problems import problem

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> JSONResponse:
    """200 whenever the process answers. Needs no token."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Does the node do its work?")
async def readyz(gateway: TheGateway) -> Response:
    """503 with the reason while the store refuses writes. The uplink does not matter; adapters that could not be
    opened, and are tried again, are named in `adapters`. Needs no token."""
    failure = gateway.committer.failure
    if failure is not None:
        return problem(503, "The store refuses writes", failure.message, code=failure.code)
    faulty = {health.name: health.error for health in gateway.host.health() if health.error}
    return JSONResponse({"status": "ready", **({"adapters": faulty} if faulty else {})})


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"description": "Prometheus text format", "content": {CONTENT_TYPE: {}}}},
)
async def metrics(gateway: TheGateway) -> Response:
    """The process, the store, the adapters' devices and the links, in base units (seconds, ratios)."""
    return Response(render(gateway), media_type=CONTENT_TYPE)
