"""`/nodes` and `/adapters`: what is around this node and what runs in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from twingateway.api.params import TheGateway
from twingateway.gateway.queries import NodeView

router = APIRouter(tags=["nodes"])


@router.get("/nodes")
async def list_nodes(gateway: TheGateway) -> dict[str, Any]:
    """This node, its parent and its children, with the quality of the links to them."""
    return {"items": [_shown(view) for view in gateway.queries.nodes()]}


@router.get("/adapters")
async def list_adapters(gateway: TheGateway) -> dict[str, Any]:
    """The adapters of this node and how their devices are."""
    return {"items": [asdict(health) for health in gateway.host.health()]}


def _shown(view: NodeView) -> dict[str, Any]:
    shown = asdict(view)
    return {name: value for name, value in shown.items() if value not in (None, "")}
