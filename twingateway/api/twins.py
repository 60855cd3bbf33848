"""`/twins`: list, read, patch, put, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.describe import PATCH_BODY, TWIN_BODY
from twingateway.api.params import (
    Actor,
    Device,
    IfMatch,
    Namespace,
    TheGateway,
    TheTerms,
    Wait,
    WriteId,
)
from twingateway.api.patch import check_patch, desired_names
from twingateway.errors import InvalidDocument, Problem
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.twins.queries import Filter
from twingateway.twin.desired import Origin
from twingateway.twin.identity import DeviceId
from twingateway.twin.presence import PresenceState
from twingateway.twin.register import Version

router = APIRouter(tags=["twins"])

MAX_PAGE = 1000

_WAITED: dict[int | str, dict[str, Any]] = {
    202: {"description": "Taken, but with `?wait=` not all acks were final in time; the body says how far each is"}
}


@router.get("/twins", summary="List twins")
async def list_twins(
    gateway: TheGateway,
    namespace: Namespace,
    label: Annotated[list[str] | None, Query(description="`name=value`; several must all match.")] = None,
    model: Annotated[str | None, Query(description="`name@version`")] = None,
    presence: Annotated[PresenceState | None, Query(description="Effective presence.")] = None,
    after: Annotated[str, Query(description="Twins behind this name: `nextAfter` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="At most so many on this page.")] = 100,
) -> JSONResponse:
    """Twins in the order of their names: `{items: […], nextAfter: name | null}`; null on the last page."""
    state = None if presence is None else presence.value
    wanted = Filter(namespace, dict(map(_label, label or ())), model, state, after, limit)
    page = gateway.queries.page(wanted)
    return JSONResponse({"items": page.items, "nextAfter": page.next_after})


@router.get("/twins/{name}", summary="Read a twin")
async def get_twin(gateway: TheGateway, device: Device) -> JSONResponse:
    """The DeviceTwin document with `status`: version and time of each property, the `quality` of each reported one
    (`good`, or `bad` with a `reason`), the ack of each desired one, effective presence, holder, and what the device's
    adapter last complained about (`source`).

    The ETag is the version of what clients may write, desired properties and labels, which `If-Match` of PATCH, PUT
    and DELETE compares; what the device reports does not change it."""
    return JSONResponse(gateway.queries.twin(device), headers=_etag(gateway.queries.version(device)))


@router.get("/twins/{name}/desired", summary="Read the desired properties and their version")
async def get_desired(gateway: TheGateway, device: Device) -> JSONResponse:
    """The desired properties; the ETag is the twin's version, which `If-Match` of a write compares."""
    values, version = gateway.queries.desired(device)
    return JSONResponse(values, headers=_etag(version))


@router.patch("/twins/{name}", summary="Set desired values and labels", responses=_WAITED, openapi_extra=PATCH_BODY)
async def patch_twin(
    gateway: TheGateway,
    device: Device,
    if_match: IfMatch,
    wait: Wait,
    terms: TheTerms,
    actor: Actor,
    write_id: WriteId,
    request: Request,
) -> JSONResponse:
    """A merge patch (RFC 7396) of the DeviceTwin document; null removes. Only `spec.desiredProperties` and
    `metadata.labels` may be named, anything else is 422 and nothing is changed.

    With `?wait=`: 200 once the acks of all properties named are final, 202 at the time-out. Final is `applied`,
    `rejected`, `failed`, `expired` and `superseded`; `delivered` with code `unconfirmed` counts too, since nothing
    more can come of it: the device has no way to confirm. 200 says that all is decided, not that all is well.

    A desired value that is set with `?ttl=` is set anew even if it is what it was.

    At a node that is not the root the patch is sent up to it: 503 `root-unreachable` while there is no way there, 504
    `outcome-unknown` when it does not answer. Sent again with the `Idempotency-Key` that the problem names (`write`),
    it is not made twice.
    """
    patch = await read_json(request)
    check_patch(device.name, patch)
    written = await gateway.writes.patch(device, patch, if_match, terms, Origin(actor), write_id)
    return await _written(gateway, device, written.desired, desired_names(patch), wait, 200, list(written.warnings))


@router.put(
    "/twins/{name}",
    summary="Create or replace a twin",
    responses={201: {"description": "It is new"}, **_WAITED},
    openapi_extra=TWIN_BODY,
)
async def put_twin(
    gateway: TheGateway,
    device: Device,
    namespace: Namespace,
    if_match: IfMatch,
    wait: Wait,
    terms: TheTerms,
    actor: Actor,
    request: Request,
) -> JSONResponse:
    """Create a twin, or make its desired properties and labels exactly those of the document.

    `reportedProperties` are ignored, and `warnings` of the answer say so: only the device itself reports. `?wait=` as
    with PATCH. With `If-Match` nothing is created: 412 if there is no such twin.
    """
    document = await read_json(request)
    metadata = document.get("metadata") if isinstance(document, dict) else None
    stated = metadata.get("name") if isinstance(metadata, dict) else None
    if stated is not None and stated != device.name:
        message = f"the document is about {stated}, the URL about {device.name}"
        raise InvalidDocument(message, [Problem(message, "metadata.name", "match")])
    written = await gateway.commands.put(document, namespace, if_match, terms, Origin(actor))
    status = 201 if written.created else 200
    names = desired_names(document)
    return await _written(gateway, device, written.desired, names, wait, status, list(written.warnings))


@router.delete("/twins/{name}", status_code=204, summary="Delete a twin")
async def delete_twin(gateway: TheGateway, device: Device, if_match: IfMatch) -> None:
    """Its incarnation ends: nothing that still travels under it is taken again."""
    await gateway.commands.delete(device, if_match)


async def _written(
    gateway: Gateway,
    device: DeviceId,
    versions: Mapping[str, Version],
    names: Iterable[str],
    wait: float | None,
    status: int,
    warnings: list[str] | None = None,
) -> JSONResponse:
    """The twin after a write. `names`: the properties to wait for, also those that had the wanted value already:
    their acks may still be under way."""
    if wait is not None:
        current = {name: ack.version for name in names if (ack := gateway.queries.ack(device, name)) is not None}
        acks = await gateway.commands.settled(device, {**current, **versions}, wait)
        if not all(ack.settled for ack in acks.values()):
            status = 202
    document: dict[str, Any] = gateway.queries.twin(device)
    if warnings:
        document["warnings"] = warnings
    return JSONResponse(document, status, headers=_etag(gateway.queries.version(device)))


def _etag(version: Version) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"a label filter looks like name=value, not {text!r}"
        raise InvalidDocument(message, [Problem(message, "label", "format")])
    return name, value
