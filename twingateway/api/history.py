"""`/twins/{name}/history` and `/journal`: what was, and what waits to be told."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from twingateway.api.params import Device, TheGateway
from twingateway.errors import InvalidDocument, NotFound, Problem, UnknownTwin
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.twins.history import Step
from twingateway.ports.journal import About, Placed, Span
from twingateway.twin.duration import parse_duration
from twingateway.twin.identity import DeviceId
from twingateway.twin.quality import described
from twingateway.twin.register import Section
from twingateway.validation.explain import guess, shown

router = APIRouter(tags=["history"])

#: What is asked for when nothing is said, in milliseconds.
LAST_HOUR = 3_600_000
#: Most points or steps in one answer.
MOST = 10_000
#: Whose registers have the names of properties.
_OF_PROPERTIES = (Section.REPORTED, Section.DESIRED)


class First(StrEnum):
    """The end from which a list is read."""

    OLDEST = "oldest"
    NEWEST = "newest"


_UNIX = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_AFTER = re.compile(r"(-?[0-9]{1,15})-([0-9]{1,18})", re.ASCII)


@router.get("/twins/{name}/history", summary="What a property was")
async def history(
    gateway: TheGateway,
    device: Device,
    property: Annotated[str, Query(min_length=1, max_length=1024, description="The property's name.")],
    start: Annotated[
        str | None, Query(alias="from", description="Unix milliseconds, or ISO 8601: `2026-01-31T12:00:00Z`.")
    ] = None,
    end: Annotated[str | None, Query(alias="to", description="Likewise; not included.")] = None,
    step: Annotated[str | None, Query(description="Sum up per `10s`, `5m`, `1h` …")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
    after: Annotated[str | None, Query(description="`nextAfter` of the page before.")] = None,
) -> JSONResponse:
    """Points of one property in order of time, from `from` (an hour before `to`) to before `to` (now).

    Without `step` each value as it was reported, of quality `good`; several may have one time. From where it was not
    to be relied on any more there is an item of quality `bad` with its `reason`, without a value (at `from`, if it
    was so then), and where it became good again without being reported, the value once more. With `step`, counted
    from `from` (if that is left out, from a multiple of the step), for each step with any of it: `count` (of all that
    was reported), `min`, `mean` and `max` (of what are numbers, else null), and `bad`, the milliseconds for which the
    value was. Quality is as the device's own node saw it.

    `nextAfter` of null: that was all. History is kept at the root and at nodes with an API, for as long as the model
    (or the node's file) says, counted from now or, if that is earlier, from the property's newest point; what is
    older is not shown. It comes late when the way to a device was down, and then fills up.
    """
    if not gateway.queries.exists(device):
        raise UnknownTwin(f"there is no twin {device.short}")
    until = _moment(end, "to") if end is not None else time.time_ns() // 1_000_000 + 1
    width = None if step is None else _step(step)
    since = _moment(start, "from") if start is not None else until - LAST_HOUR
    if start is not None and end is not None and since > until:
        raise _refusal("`from` is after `to`", "from", "range")
    if width is not None and start is None:
        since -= since % width
    await _require_known(gateway, device, property)
    span = Span(device, property, since, until)
    answer: dict[str, Any] = {"twin": device.name, "property": property, "from": since, "to": until}
    if width is None:
        readings, behind = await gateway.history.readings(span, _after(after), limit)
        answer["items"] = [{"time": each.time, "value": each.value, **described(each.reason)} for each in readings]
        answer["nextAfter"] = None if behind is None else "{}-{}".format(*behind)
        return JSONResponse(answer)
    if after is not None:  # steps go on from the end of the last one
        span = Span(device, property, _moment(after, "after") + width, until)
    found = await gateway.history.steps(span, width, limit + 1)
    answer["step"] = width
    answer["items"] = list(map(_summed_up, found[:limit]))
    answer["nextAfter"] = str(found[limit - 1].bucket.time) if len(found) > limit else None
    return JSONResponse(answer)


async def _require_known(gateway: Gateway, device: DeviceId, name: str) -> None:
    """Raises InvalidDocument if the device's model does not have the property and nothing is known of it here: its
    name was mistyped. What an earlier version of the model had may still be read."""
    ref = gateway.queries.model_ref(device)
    found = None if ref is None else gateway.models.find(device.namespace, ref)
    if found is None or name in found.model.properties:
        return
    has_register = any(name in gateway.table.section(device, section) for section in _OF_PROPERTIES)
    if not has_register and await gateway.store.last_point(device, name) is None:
        hint = guess(name, list(found.model.properties))
        raise _refusal(f"{ref} has no property {shown(name)}{hint}", "property", "unknown")


@router.get("/journal", summary="What waits to be told")
async def journal(gateway: TheGateway) -> JSONResponse:
    """By class, the most urgent first: entries and bytes that wait at this node for its parent, the time of the
    oldest (Unix milliseconds), the limits, how many were given up for gap records since the start, and the bytes that
    are on their way to the parent. `peer` is the parent, null at a root, where nothing waits."""
    depths = {depth.class_name: depth for depth in await gateway.store.journal_depths()}
    policy, parent = gateway.journal.policy, gateway.peers.parent
    items = []
    for name in policy.order:
        depth, limits = depths.get(name), policy.classes[name]
        items.append(
            {
                "class": name,
                "peer": None if parent is None else parent.name,
                "entries": 0 if depth is None else depth.entries,
                "bytes": 0 if depth is None else depth.bytes,
                "oldest": None if depth is None or not depth.entries else depth.oldest,
                "inFlight": 0 if parent is None else parent.journal.in_flight(name),
                "ttl": limits.ttl,
                "maxBytes": limits.max_bytes,
                "evicted": gateway.relay.evicted.get(name, 0),
            }
        )
    return JSONResponse({"items": items, "appended": gateway.journal.appended, "received": gateway.relay.received})


@router.get("/journal/{class_name}", summary="What was told")
async def kept(
    gateway: TheGateway,
    class_name: Annotated[str, Path(max_length=64, description="`alarm`, `event` …")],
    first: Annotated[
        First, Query(description="From which end: the last ten are `first=newest&limit=10`.")
    ] = First.OLDEST,
    twin: Annotated[str | None, Query(description="Only what is about the twin of this name.")] = None,
    namespace: Annotated[str | None, Query(description="Only what is of this tenant; of all if left out.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
    after: Annotated[
        int | None, Query(ge=0, lt=1 << 63, description="`nextAfter` of the page before, from the same end.")
    ] = None,
) -> JSONResponse:
    """Entries that this node keeps (its own and what has arrived from nodes below), in the order in which they came,
    each once, or the last one first. An entry is known everywhere by `journal` and `seq`. A gap record (`gap` says
    why) stands for `count` entries that are not told. Of the class `history` only gap records are listed here."""
    about = About(namespace, twin)
    if first is First.NEWEST:
        found = await gateway.store.kept_before(class_name, after, limit + 1, about)
    else:
        found = await gateway.store.kept_page(class_name, after or 0, limit + 1, about)
    if not found and class_name not in gateway.journal.policy.classes:
        await _require_any(gateway, class_name)
    items = [_shown(placed) for placed in found[:limit]]
    return JSONResponse({"items": items, "nextAfter": found[limit - 1].position if len(found) > limit else None})


async def _require_any(gateway: Gateway, class_name: str) -> None:
    """Raises NotFound if nothing is kept of a class that this node does not know: its name was mistyped."""
    if not await gateway.store.kept_page(class_name, 0, 1):
        raise NotFound(f"nothing is kept of a class {class_name!r}{guess(class_name, gateway.journal.policy.order)}")


def _shown(placed: Placed) -> dict[str, Any]:
    entry = placed.entry
    shown: dict[str, Any] = {
        "journal": entry.journal_id.hex(),
        "seq": entry.seq,
        "node": entry.node,
        "namespace": entry.namespace,
        "time": entry.time,
    }
    if entry.gap:
        return {**shown, "gap": entry.gap, "count": entry.count}
    return {**shown, "twin": entry.device, "name": entry.name, "value": entry.value}


def _moment(text: str, parameter: str) -> int:
    if _UNIX.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _refusal(f"{text!r} is no time; write Unix milliseconds or ISO 8601", parameter) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _step(text: str) -> int:
    try:
        width = round(parse_duration(text) * 1000)
    except ValueError as error:
        raise _refusal(str(error), "step") from None
    if width < 1:
        raise _refusal("a step is a millisecond at least", "step")
    return width


def _after(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _AFTER.fullmatch(text)
    if match is None:
        raise _refusal(f"{text!r} is not the nextAfter of a page", "after")
    return int(match[1]), int(match[2])


def _summed_up(step: Step) -> dict[str, Any]:
    each = step.bucket
    figures = {"count": each.count, "min": each.minimum, "mean": each.mean, "max": each.maximum}
    return {"time": each.time, **figures, "bad": step.bad}


def _refusal(message: str, parameter: str, rule: str = "format") -> InvalidDocument:
    return InvalidDocument(message, [Problem(message, parameter, rule)])
