"""`/twins`: list, read, patch, put, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.params import Device, IfMatch, Namespace, TheGateway, Wait
from twingateway.errors import InvalidDocument, Problem
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.queries import Filter
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import PresenceState
from twingateway.twin.register import Version

router = APIRouter(tags=["twins"])

MAX_PAGE = 1000


@router.get("/twins")
async def list_twins(
    gateway: TheGateway,
    namespace: Namespace,
    label: Annotated[list[str] | None, Query(description="`name=value`; several must all match.")] = None,
    model: Annotated[str | None, Query(description="`name@version`")] = None,
    presence: PresenceState | None = None,
    after: Annotated[str, Query(description="Twins behind this name; `nextAfter` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> dict[str, Any]:
    """Twins in the order of their names: `{items: […], nextAfter: name | null}`."""
    state = None if presence is None else presence.value
    wanted = Filter(namespace, dict(map(_label, label or ())), model, state, after, limit)
    page = gateway.queries.page(wanted)
    return {"items": page.items, "nextAfter": page.next_after}


@router.get("/twins/{name}")
async def get_twin(gateway: TheGateway, device: Device) -> dict[str, Any]:
    """The DeviceTwin document with `status`."""
    return gateway.queries.twin(device)


@router.get("/twins/{name}/desired")
async def get_desired(gateway: TheGateway, device: Device) -> Response:
    """The desired properties; the ETag is their version, which `If-Match` of a PATCH compares."""
    values, version = gateway.queries.desired(device)
    return JSONResponse(values, headers=_etag(version))


@router.patch("/twins/{name}")
async def patch_twin(
    gateway: TheGateway, device: Device, if_match: IfMatch, wait: Wait, request: Request
) -> Response:
    """RFC 7396 on `spec.desiredProperties` and `metadata.labels`. With `?wait=`: 200 once all acks are final, 202 at
    the time-out."""
    written = await gateway.commands.patch(device, await read_json(request), if_match)
    return await _written(gateway, device, written.desired, wait, 200)


@router.put("/twins/{name}")
async def put_twin(
    gateway: TheGateway, device: Device, namespace: Namespace, wait: Wait, request: Request
) -> Response:
    """Create a twin or make its desired properties and labels those of the document; reportedProperties are ignored
    with a warning."""
    document = await read_json(request)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    stated = metadata.get("name") if isinstance(metadata, dict) else None
    if stated is not None and stated != device.name:
        message = f"the document is about {stated}, the URL about {device.name}"
        raise InvalidDocument(message, [Problem(message, "metadata.name", "match")])
    written = await gateway.commands.put(document, namespace)
    status = 201 if written.created else 200
    return await _written(gateway, device, written.desired, wait, status, list(written.warnings))


@router.delete("/twins/{name}", status_code=204)
async def delete_twin(gateway: TheGateway, device: Device) -> None:
    await gateway.commands.delete(device)


async def _written(
    gateway: Gateway,
    device: DeviceId,
    versions: Any,
    wait: float | None,
    status: int,
    warnings: list[str] | None = None,
) -> Response:
    if wait is not None and versions:
        acks = await gateway.commands.settled(device, versions, wait)
        if not all(ack.settled for ack in acks.values()):
            status = 202
    document: dict[str, Any] = gateway.queries.twin(device)
    if warnings:
        document["warnings"] = warnings
    return JSONResponse(document, status, headers=_etag(gateway.queries.desired(device)[1]))


def _etag(version: Version) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"a label filter looks like name=value, not {text!r}"
        raise InvalidDocument(message, [Problem(message, "label", "format")])
    return name, value
