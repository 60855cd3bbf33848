"""`/nodes` and `/adapters`: what is around this node and what runs in it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from twingateway.api.params import TheGateway
from twingateway.gateway.twins.nodes import NodeView
from twingateway.sync.quality import Quality

router = APIRouter(tags=["nodes"])

#: Digits after the point of a link's measured figures: 0.1 ms, 0.01 %.
_DIGITS = {"rtt": 4, "rtt_variation": 4, "loss": 4, "burst": 1, "redundancy": 2}


@router.get("/nodes", summary="The nodes around")
async def list_nodes(gateway: TheGateway) -> JSONResponse:
    """This node, its parent and its children, with the quality of the links to them.

    `waiting`: registers that the peer has not made durable yet, `queue_age` the seconds since the oldest of them came
    about. `transport`: `quic`, or `tls` where UDP does not get through; `url`: which of the parent's addresses is in
    use. `goodput`: bytes a second of new state. `quality`: `rtt` and `rtt_variation` in seconds, `loss` as a share,
    `burst` packets lost together, `copies` sent of each register, `redundancy` sent for each that was new, `silent`
    while nothing is heard.
    """
    return JSONResponse({"items": [_shown(view) for view in gateway.nodes.all()]})


@router.get("/adapters", summary="The adapters and their devices")
async def list_adapters(gateway: TheGateway) -> JSONResponse:
    """What runs in this node: how many devices each has, how many of them answer, `error` if it could not start."""
    return JSONResponse({"items": [asdict(health) for health in gateway.host.health()]})


def _shown(view: NodeView) -> dict[str, Any]:
    shown: dict[str, Any] = {name: value for name, value in asdict(view).items() if value not in (None, "")}
    for name in ("goodput", "queue_age"):
        if name in shown:
            shown[name] = round(shown[name], 1)
    if view.quality is not None:
        shown["quality"] = _rounded(view.quality)
    return shown


def _rounded(quality: Quality) -> dict[str, Any]:
    figures = {name: value for name, value in asdict(quality).items() if value is not None and math.isfinite(value)}
    return {name: round(value, _DIGITS[name]) if name in _DIGITS else value for name, value in figures.items()}
