"""`/twins/{name}/overrides`: desired values that are set at the edge, and the conflicts that come of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

from twingateway.api.body import read_json
from twingateway.api.describe import OVERRIDE_BODY, RESOLUTION_BODY
from twingateway.api.params import Actor, Device, IfMatchOverride, TheGateway, Wait
from twingateway.errors import InvalidDocument, Problem
from twingateway.gateway.twins.standing import Standing

router = APIRouter(tags=["overrides"])

Property = Annotated[str, Path(description="The property's name.")]

_WAITED: dict[int | str, dict[str, Any]] = {
    202: {"description": "Set, but with `?wait=` it was not settled in time; `ack` says how far it is"}
}


@router.get("/twins/{name}/overrides", summary="List the local overrides of a twin")
async def list_overrides(gateway: TheGateway, device: Device) -> JSONResponse:
    """Those that are open, by property: `{id, value, actor, node, since, base, state, ack}`. `state` is `unjudged`
    until the root has judged it, `undecided` while a person is to decide (`POST …/resolution`)."""
    gateway.queries.desired(device)
    return JSONResponse(gateway.queries.overrides(device))


@router.get("/twins/{name}/overrides/{property_name:path}", summary="Read a local override")
async def get_override(gateway: TheGateway, device: Device, property_name: Property) -> JSONResponse:
    """The open override of a property; its ETag is its id. 404 if it is not overridden, or no longer."""
    override = gateway.overrides.find(device, property_name)
    return _shown(gateway.queries.standing(device, property_name, override))


@router.put(
    "/twins/{name}/overrides/{property_name:path}",
    summary="Override a desired value here",
    responses=_WAITED,
    openapi_extra=OVERRIDE_BODY,
)
async def put_override(
    gateway: TheGateway,
    device: Device,
    property_name: Property,
    if_match: IfMatchOverride,
    actor: Actor,
    wait: Wait,
    request: Request,
) -> JSONResponse:
    """`{"value": …}`, at the node that holds the device, whether or not the root can be reached. It is durable when
    this answers, and the device follows it at once. The root judges it when it hears of it: it becomes the desired
    value, unless that was changed meanwhile and the model's `conflict` says otherwise.

    `If-Match`: the ETag of the override that it replaces, or the twin's ETag while there is none. With `?wait=`: 200
    once it is settled, 202 at the time-out; `ack` says how far it has come, as that of a desired value with PATCH.
    `state` is what the root has made of it: `accepted` once it is the desired value, whose ack is told then; or
    `lost`, with the desired value that `stands` (`{value, version, actor}`), which with `withdrawn`, `replaced` and
    `void` makes the ack `superseded`. 200 says that all is decided, not that all is well."""
    body = await read_json(request)
    if not isinstance(body, dict) or "value" not in body:
        message = 'say the value: {"value": 21.5}'
        raise InvalidDocument(message, [Problem(message, "value", "required")])
    override = await gateway.overrides.set(device, property_name, body["value"], actor, if_match)
    if wait is None:
        return _shown(gateway.queries.standing(device, property_name, override))
    standing = await gateway.overrides.settled(device, property_name, override, wait)
    return _shown(standing, 200 if standing.is_settled else 202)


@router.delete("/twins/{name}/overrides/{property_name:path}", status_code=204, summary="Withdraw a local override")
async def delete_override(
    gateway: TheGateway, device: Device, property_name: Property, if_match: IfMatchOverride, actor: Actor
) -> None:
    """The device follows the desired value again. At the node that holds the device; 404 if it is not overridden, or
    no longer: then what came of it is the desired value."""
    await gateway.overrides.withdraw(device, property_name, actor, if_match)


@router.post(
    "/twins/{name}/overrides/{property_name:path}/resolution",
    summary="Decide a conflict",
    openapi_extra=RESOLUTION_BODY,
)
async def resolve_override(
    gateway: TheGateway,
    device: Device,
    property_name: Property,
    if_match: IfMatchOverride,
    actor: Actor,
    request: Request,
) -> JSONResponse:
    """`{"winner": "edge"}` or `{"winner": "cloud"}`, at the root, of a property whose model says `conflict: manual`.
    `If-Match`: the ETag of the override that was decided on, or of its twin. Answers with the twin."""
    body = await read_json(request)
    winner = body.get("winner") if isinstance(body, dict) else None
    if winner not in ("cloud", "edge"):
        message = 'say whose value stands: {"winner": "cloud"} or {"winner": "edge"}'
        raise InvalidDocument(message, [Problem(message, "winner", "enum")])
    await gateway.verdicts.resolve(device, property_name, edge=winner == "edge", actor=actor, if_match=if_match)
    return JSONResponse(gateway.queries.twin(device))


def _shown(standing: Standing, status: int = 200) -> JSONResponse:
    """The override; only an open one has an ETag, as no other can be replaced."""
    headers = {"ETag": f'"{standing.override.id}"'} if standing.is_open else {}
    return JSONResponse(standing.to_value(), status, headers=headers)
