"""`/twins/{name}/move`: give a device to another node."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.describe import MOVE_BODY
from twingateway.api.params import Device, IfMatch, TheGateway
from twingateway.errors import InvalidDocument, Problem
from twingateway.twin.identity import NAME_PATTERN

router = APIRouter(tags=["twins"])


@router.post("/twins/{name}/move", summary="Give a device to another node", openapi_extra=MOVE_BODY)
async def move_twin(gateway: TheGateway, device: Device, if_match: IfMatch, request: Request) -> JSONResponse:
    """`{"node": NAME}`: the present holder is fenced at once; the node holds the device as soon as it claims it, that
    is, when it has the device among its documents. Nothing that the old holder finished is done again. A move changes
    the twin's version, and so does the grant that follows it."""
    body = await read_json(request)
    node = body.get("node") if isinstance(body, dict) else None
    if not isinstance(node, str):
        message = 'say to which node: {"node": "edge-2"}'
        raise InvalidDocument(message, [Problem(message, "node", "required")])
    if not re.fullmatch(NAME_PATTERN, node):
        message = f"{node[:128]!r} is no node's name"
        raise InvalidDocument(message, [Problem(message, "node", "pattern")])
    await gateway.commands.move(device, node, if_match)
    return JSONResponse(gateway.queries.twin(device), headers={"ETag": f'"{gateway.queries.version(device)}"'})
