"""Parameters that several routes share."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request

from twingateway.errors import InvalidDocument, Problem
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.twins.commands import ANY
from twingateway.gateway.twins.writes import MAX_ACTOR, MAX_ID
from twingateway.twin.desired import Priority, Terms
from twingateway.twin.duration import parse_duration, render_duration
from twingateway.twin.identity import NAME_PATTERN, DeviceId
from twingateway.twin.override import OverrideId
from twingateway.twin.register import Version

_ENTITY_TAG = re.compile(r'"?([0-9]{1,18}\.[0-9]{1,18}\.[0-9]{1,18})"?', re.ASCII)

#: Longest wait for acknowledgements, in seconds.
MAX_WAIT = 300.0
#: Longest that a desired value with a ttl may be wanted, in seconds.
MAX_TTL = 366 * 86400.0


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]


def namespace_of(
    gateway: TheGateway,
    namespace: Annotated[
        str | None,
        Query(
            pattern=f"^{NAME_PATTERN}$",
            description="The tenant; the node's own if left out. The API's token is the node's, so it opens all.",
        ),
    ] = None,
) -> str:
    return namespace or gateway.namespace


Namespace = Annotated[str, Depends(namespace_of)]


def device_of(namespace: Namespace, name: Annotated[str, Path(description="The twin's name.")]) -> DeviceId:
    return DeviceId.parse(name, namespace)


Device = Annotated[DeviceId, Depends(device_of)]


def if_match_of(
    if_match: Annotated[
        str | None,
        Header(description="The version this is based on: an ETag of this twin. `*`: whichever, if there is one."),
    ] = None,
) -> Version | None:
    """`If-Match: "VERSION"`; without it there is no condition."""
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY
    known = _ENTITY_TAG.fullmatch(if_match.strip())
    if known is None:
        message = f"If-Match {if_match} is no version; send the ETag of GET /twins/NAME"
        raise InvalidDocument(message, [Problem(message, "If-Match", "format")]) from None
    return Version.parse(known[1])


IfMatch = Annotated[Version | None, Depends(if_match_of)]


def if_match_override_of(
    if_match: Annotated[
        str | None,
        Header(description="What this is based on: an ETag of this override, or of its twin. `*`: whichever."),
    ] = None,
) -> Version | OverrideId | None:
    """`If-Match: "ID"` or `"VERSION"`; without it there is no condition."""
    tag = None if if_match is None else if_match.strip().strip('"')
    if tag is None or tag == "*" or _ENTITY_TAG.fullmatch(tag):
        return if_match_of(if_match)
    try:
        return OverrideId.parse(tag)
    except ValueError:
        message = f"If-Match {if_match} is no override; send the ETag of GET /twins/NAME/overrides/PROPERTY"
        raise InvalidDocument(message, [Problem(message, "If-Match", "format")]) from None


IfMatchOverride = Annotated[Version | OverrideId | None, Depends(if_match_override_of)]


def actor_of(
    request: Request,
    actor: Annotated[
        str | None,
        Query(
            max_length=MAX_ACTOR,
            description="Who does this: kept with the value, and named when it is in conflict with another. Without "
            "it, the address that the request came from.",
        ),
    ] = None,
) -> str:
    if actor:
        return actor if actor.isprintable() else repr(actor)[1:-1][:MAX_ACTOR]
    return f"api@{request.client.host}" if request.client is not None else "api"


Actor = Annotated[str, Depends(actor_of)]


def write_id_of(
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=MAX_ID,
            description="An id of your own for this write: sent again with it, the write is not made twice.",
        ),
    ] = None,
) -> str | None:
    return idempotency_key


WriteId = Annotated[str | None, Depends(write_id_of)]


def wait_of(
    wait: Annotated[
        str | None,
        Query(description="Wait until all acks of the named properties are final, at most so long: `5s`, `500ms`."),
    ] = None,
) -> float | None:
    if wait is None:
        return None
    try:
        return min(parse_duration(wait), MAX_WAIT)
    except ValueError as error:
        raise InvalidDocument(str(error), [Problem(str(error), "wait", "format")]) from None


Wait = Annotated[float | None, Depends(wait_of)]


def terms_of(
    ttl: Annotated[
        str | None,
        Query(
            description="How long the desired values of this write are wanted, from now on: `30s`, `5m`. One that "
            "has not reached its device by then is never written to it; its ack is `expired`."
        ),
    ] = None,
    priority: Annotated[
        Priority, Query(description="Which of a device's waiting desired values is written first.")
    ] = Priority.NORMAL,
) -> Terms:
    if ttl is None:
        return Terms(None, priority)
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        raise InvalidDocument(str(error), [Problem(str(error), "ttl", "format")]) from None
    if not 0 < seconds <= MAX_TTL:
        message = "a ttl of nothing is over at once: say how long, 30s for instance, or leave it out"
        if seconds:
            message = f"a ttl is at most {render_duration(MAX_TTL)}, not {render_duration(seconds)}"
        raise InvalidDocument(message, [Problem(message, "ttl", "range")])
    return Terms(seconds, priority)


TheTerms = Annotated[Terms, Depends(terms_of)]

ModelName = Annotated[str, Path(pattern=f"^{NAME_PATTERN}$")]
