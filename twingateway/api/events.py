"""`/events`: Server-Sent Events, resumable with Last-Event-ID.

An id is `STORE-POSITION`: the first bytes of the store's id and an lsn (see gateway.events). After a gap that the
node no longer remembers event by event, the newest of each register follows instead; after a change of store, all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from twingateway.api.params import Namespace, TheGateway
from twingateway.gateway.events import Changed, Event, Listening, Notice
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.peers import NODES

router = APIRouter(tags=["events"])

#: Seconds of silence after which a comment keeps the connection alive.
HEARTBEAT = 15.0


@router.get("/events", response_class=StreamingResponse)
async def events(
    gateway: TheGateway,
    namespace: Namespace,
    twin: Annotated[str | None, Query(description="Only events about this twin.")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Every change from now on, or from where `Last-Event-ID` left off."""
    after = _position(gateway, last_event_id)
    listening = gateway.events.listen(after, gateway.ledger.position)
    stream = _stream(gateway, listening, namespace, twin)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _stream(gateway: Gateway, listening: Listening, namespace: str, twin: str | None) -> AsyncIterator[bytes]:
    prefix = _prefix(gateway)
    yield f": {gateway.name}\nid: {prefix}-{gateway.ledger.position}\n\n".encode()
    try:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    batch = await listening.next_batch()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if not batch:
                return
            chunk = b"".join(_render(prefix, event) for event in batch if _concerns(event, namespace, twin))
            if chunk:
                yield chunk
    finally:
        gateway.events.leave(listening)


def _concerns(event: Event, namespace: str, twin: str | None) -> bool:
    device = event.stored.register.key.device if isinstance(event, Changed) else event.device
    if device is None or device.namespace == NODES:
        return twin is None
    return device.namespace == namespace and (twin is None or device.name == twin)


def _render(prefix: str, event: Event) -> bytes:
    kind, data = _changed(event) if isinstance(event, Changed) else _notice(event)
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"id: {prefix}-{event.position}\nevent: {kind}\ndata: {text}\n\n".encode()


def _changed(event: Changed) -> tuple[str, dict[str, Any]]:
    register = event.stored.register
    device, section, name = register.key
    return section.value, {
        "namespace": device.namespace,
        "twin": device.name,
        "property": name,
        "value": register.value,
        "version": str(register.version),
        "time": register.time,
    }


def _notice(event: Notice) -> tuple[str, dict[str, Any]]:
    data: dict[str, Any] = {"code": event.code, "message": event.message, "time": event.time, **event.detail}
    if event.device is not None:
        data |= {"namespace": event.device.namespace, "twin": event.device.name}
    return "notice", data


def _prefix(gateway: Gateway) -> str:
    return gateway.store.identity.store_id.hex()[:8]


def _position(gateway: Gateway, last_event_id: str | None) -> int | None:
    if last_event_id is None:
        return None
    prefix, _, number = last_event_id.partition("-")
    return int(number) if prefix == _prefix(gateway) and number.isdigit() else 0
