"""`/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from twingateway.api.metrics import render
from twingateway.api.params import TheGateway

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(gateway: TheGateway) -> JSONResponse:
    """The node does its work: 503 with the reason while its store refuses writes. The uplink does not matter."""
    failure = gateway.committer.failure
    if failure is not None:
        return JSONResponse({"status": "not ready", "code": failure.code, "reason": failure.message}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", response_class=Response)
async def metrics(gateway: TheGateway) -> Response:
    """Prometheus text format."""
    body, content_type = render(gateway)
    return Response(body, media_type=content_type)
