"""`/events`: Server-Sent Events, resumable with Last-Event-ID.

An id is `STORE-POSITION`: the first bytes of the store's id and an lsn (see gateway.events). After a gap that the
node no longer remembers event by event, the newest of each register follows instead; so it does, for all registers,
when the id is of another store or from a future that this store does not know.
A client that reads too slowly is cut: its queue is bounded here, and one that reads nothing at all is dropped by the
kernel (see server). It loses nothing, since it resumes where it was.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from twingateway.api.params import Namespace, TheGateway
from twingateway.gateway.gateway import Gateway
from twingateway.gateway.peering.reach import NODES
from twingateway.gateway.state.events import Changed, Event, Listening, Notice
from twingateway.twin.desired import plain
from twingateway.twin.event_kind import EventKind
from twingateway.twin.identity import DeviceId
from twingateway.twin.quality import Quality, described
from twingateway.twin.register import Section

router = APIRouter(tags=["events"])

#: Seconds of silence after which a comment keeps the connection alive.
HEARTBEAT = 15.0
#: Events rendered into one piece, so that a long backlog is neither built nor buffered at once.
PIECE = 256

_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})", re.ASCII)

_EXAMPLE = (
    "id: 3f2a9c01-4711\nevent: reported\n"
    'data: {"namespace":"default","twin":"hvac-1","property":"temperature","value":21.4,'
    '"version":"1.1.90","time":1750000000000}\n\n'
)


@router.get(
    "/events",
    summary="Follow changes",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events, until the client or the node ends",
            "content": {"text/event-stream": {"example": _EXAMPLE}},
        }
    },
)
async def events(
    gateway: TheGateway,
    namespace: Namespace,
    twin: Annotated[str | None, Query(description="Only events about this twin.")] = None,
    kind: Annotated[
        frozenset[EventKind], Query(description="Only events of this kind; may be repeated.")
    ] = frozenset(),
    last_event_id: Annotated[
        str | None, Header(description="The last id seen: go on behind it. What lies in between may come again.")
    ] = None,
) -> StreamingResponse:
    """Every change from now on, or from where `Last-Event-ID` left off.

    The event's name is the section that changed: `reported`, `desired`, `ack`, `presence`, `tags`, `lifecycle`,
    `override`, `verdict`, `reach` (of a node; in every namespace), or `notice`, which has a `code` and a `message`.
    A `value` of null: it was removed. `unvalidated`: the device's model is not here yet, so nobody has judged the
    value. `quality` of a reported value is `good` or `bad`, with a `reason`.
    `quality` is also the name of an event, which follows from others: all values of a twin became good or bad (its
    device, or the way to it, went or came back), but for those in `bad`, which have reasons of their own.
    After 15 s without an event that was asked for a comment keeps the connection alive; its id is how far the stream
    has come.
    """
    after = None if last_event_id is None else _position(gateway, last_event_id)
    position = gateway.ledger.position
    listening = gateway.events.listen(after, position)
    first = f": {gateway.name}\nid: {_prefix(gateway)}-{position if after is None else after}\n\n"
    wanted = _Wanted(namespace, twin, kind)
    stream = _stream(gateway, listening, first, wanted)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a client asked for. `twin` None: all of them; no `kinds`: every kind."""

    namespace: str
    twin: str | None
    kinds: frozenset[EventKind]

    def kind(self, kind: str) -> bool:
        return not self.kinds or kind in self.kinds

    def about(self, device: DeviceId | None) -> bool:
        if device is None or device.namespace == NODES:
            return self.twin is None
        return device.namespace == self.namespace and (self.twin is None or device.name == self.twin)


class _Telling:
    """What one client is told. The quality of a twin's values is told when it is another one than was told last."""

    def __init__(self, gateway: Gateway, wanted: _Wanted) -> None:
        self._gateway = gateway
        self._wanted = wanted
        self._told: dict[DeviceId, Quality] = {}
        self._known: dict[DeviceId, Quality] = {}
        """Now; until the next batch."""
        self.prefix = _prefix(gateway)

    def render(self, batch: Sequence[Event]) -> Iterator[bytes]:
        self._known.clear()
        for event in batch:
            yield from self._render(event)

    def _render(self, event: Event) -> Iterator[bytes]:
        """What follows from an event comes before it and has the id before its own, so that nobody who is cut in
        between misses any of it."""
        if isinstance(event, Changed):
            for data in self._judged(event):
                yield _message(f"{self.prefix}-{max(0, event.position - 1)}", EventKind.QUALITY, data)
        about = event.stored.register.key.device if isinstance(event, Changed) else event.device
        if self._wanted.kind(_kind(event)) and self._wanted.about(about):
            data = self._changed(event) if isinstance(event, Changed) else _notice(event)
            yield _message(f"{self.prefix}-{event.position}", _kind(event), data)

    def _judged(self, event: Changed) -> Iterator[dict[str, Any]]:
        register = event.stored.register
        if register.key.section is Section.REPORTED or not self._wanted.kind(EventKind.QUALITY):
            return
        for device in filter(self._wanted.about, self._gateway.queries.judged_by(register.key)):
            quality = self._quality(device)
            if self._told.get(device) != quality:
                self._told[device] = quality
                names = {"namespace": device.namespace, "twin": device.name}
                yield {**names, **quality.to_value(), "time": register.time}

    def _quality(self, device: DeviceId) -> Quality:
        quality = self._known.get(device)
        if quality is None:
            quality = self._known[device] = self._gateway.queries.quality(device)
        return quality

    def _changed(self, event: Changed) -> dict[str, Any]:
        register = event.stored.register
        device, section, name = register.key
        data: dict[str, Any] = {
            "namespace": device.namespace,
            "twin": device.name,
            "property": name,
            "value": plain(register.value) if section is Section.DESIRED else register.value,
            "version": str(register.version),
            "time": register.time,
        }
        if register.value is not None and self._gateway.queries.is_unvalidated(device, section, name):
            data["unvalidated"] = True
        if section is Section.REPORTED:
            data.update(described(self._quality(device).of(name)))
        return data


async def _stream(gateway: Gateway, listening: Listening, first: str, wanted: _Wanted) -> AsyncIterator[bytes]:
    """`first` tells where the stream begins: a client cut before its first event resumes from there.

    Events that the client did not ask for are no sign of life for it: the heartbeat counts from what was sent."""
    telling = _Telling(gateway, wanted)
    clock = asyncio.get_running_loop().time
    passed, sign_due = "", clock() + HEARTBEAT
    try:
        yield first.encode()
        while True:
            try:
                async with asyncio.timeout_at(sign_due):
                    batch = await listening.next_batch()
            except TimeoutError:
                yield f": still here\n{passed}\n".encode()
                passed, sign_due = "", clock() + HEARTBEAT
                continue
            if not batch:
                return
            passed = f"id: {telling.prefix}-{batch[-1].position}\n"
            messages = telling.render(batch)
            while piece := b"".join(islice(messages, PIECE)):
                passed, sign_due = "", clock() + HEARTBEAT
                yield piece
    finally:
        gateway.events.leave(listening)


def _kind(event: Event) -> str:
    return event.stored.register.key.section if isinstance(event, Changed) else EventKind.NOTICE


def _message(identity: str, kind: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"id: {identity}\nevent: {kind}\ndata: {text}\n\n".encode()


def _notice(event: Notice) -> dict[str, Any]:
    data: dict[str, Any] = {"code": event.code, "message": event.message, "time": event.time, **event.detail}
    if event.device is not None:
        data |= {"namespace": event.device.namespace, "twin": event.device.name}
    return data


def _prefix(gateway: Gateway) -> str:
    return gateway.store.identity.store_id.hex()[:8]


def _position(gateway: Gateway, last_event_id: str) -> int:
    known = _ID.fullmatch(last_event_id.strip())
    if known is None or known[1] != _prefix(gateway):
        return 0
    position = int(known[2])
    return position if position <= gateway.ledger.position else 0
