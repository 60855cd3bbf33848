"""Patches of twins wherever they are made: carried out at the root, sent up to it from everywhere else.

A node that is not the root sends the patch to its parent as a control message (`write`), each node passes it on, and
the root's answer (`written`: the versions, or the error) comes back the same way. Rules:

- A write has an id. The root remembers the ids of those that it carried out, so that one which comes again (the link
  broke, the client retries) is answered and not done twice; as long as it remembers, which is in memory and bounded.
- While the parent cannot be reached nothing is sent: the client is told at once, and that nothing happened. A write
  that was sent and stays unanswered may have been carried out: its client is told just that, with the id to retry by.
- A node writes only what it or a node below it holds: what else there is in its tenant it can read nowhere either.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from twingateway.errors import (
    InvalidDocument,
    NotAuthorized,
    OutcomeUnknown,
    Problem,
    ProtocolViolation,
    RootUnreachable,
    TwinGatewayError,
)
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.events import EventBus
from twingateway.gateway.state.tasks import Tasks
from twingateway.gateway.twins.commands import Commands, Written
from twingateway.gateway.twins.queries import Queries
from twingateway.gateway.twins.remote_error import decode_error, encode_error
from twingateway.twin.desired import NOWHERE, PLAIN, Origin, Priority, Terms
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Version
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise

log = structlog.get_logger("writes")

#: Seconds that the root's answer may take, and the written values after it.
ANSWER_TIME = 10.0
ARRIVAL_TIME = 5.0
#: Ids of writes that the root remembers.
MAX_REMEMBERED = 10_000
#: Characters of who writes, and of a write's id.
MAX_ACTOR = 128
MAX_ID = 128
#: Writes of one node that may wait for the root's answer.
MAX_OUTSTANDING = 1000


@dataclass(slots=True)
class _Outstanding:
    """A write that this node sent up, first at `sent_at` (monotonic seconds)."""

    body: dict[str, Any]
    answer: asyncio.Future[Any]
    sent_at: float
    ttl: float | None


@dataclass(slots=True)
class _Remembered:
    """A write that was carried out, or is being so. `meaning`: what it said, to know another one by the same id."""

    meaning: str
    outcome: asyncio.Task[Written] = field(repr=False)


class Writes:
    """`boot`: of this store, so that ids that this node makes are its own."""

    def __init__(
        self,
        root: bool,
        boot: bytes,
        commands: Commands,
        peers: Peers,
        queries: Queries,
        events: EventBus,
        clock: Clock,
        tasks: Tasks,
    ) -> None:
        self._root = root
        self._boot = boot.hex()
        self._commands = commands
        self._peers = peers
        self._queries = queries
        self._events = events
        self._clock = clock
        self._tasks = tasks
        self._count = 0
        self._outstanding: dict[str, _Outstanding] = {}
        self._remembered: OrderedDict[tuple[str, str], _Remembered] = OrderedDict()

    async def patch(
        self,
        device: DeviceId,
        patch: Value,
        if_match: Version | None = None,
        terms: Terms = PLAIN,
        origin: Origin = NOWHERE,
        write_id: str | None = None,
    ) -> Written:
        """As `Commands.patch`, here or at the root. `write_id` (at most MAX_ID characters): of the client's, the same
        when it tries again. Raises also RootUnreachable (nothing happened) and OutcomeUnknown."""
        if not self._root:
            return await self._forward(device, patch, if_match, terms, origin, write_id)
        if write_id is None:
            return await self._commands.patch(device, patch, if_match, terms, origin)
        return await self._once(write_id, device, patch, if_match, terms, origin)

    # --- at the root ----------------------------------------------------------------------------------------------

    async def _once(
        self,
        write_id: str,
        device: DeviceId,
        patch: Value,
        if_match: Version | None,
        terms: Terms,
        origin: Origin,
    ) -> Written:
        key = (device.namespace, write_id)
        meaning = _meaning(device, patch, if_match, terms)
        known = self._remembered.get(key)
        if known is None:
            work = asyncio.get_running_loop().create_task(
                self._commands.patch(device, patch, if_match, terms, origin), name=f"write {write_id}"
            )
            known = self._remembered[key] = _Remembered(meaning, work)
            work.add_done_callback(lambda done: self._done(key, done))
        elif known.meaning != meaning:
            problem = Problem("this id was another write's", "id", "unique")
            raise InvalidDocument(f"{write_id} is the id of another write; each has its own", [problem])
        return await asyncio.shield(known.outcome)

    def _done(self, key: tuple[str, str], work: asyncio.Task[Written]) -> None:
        """Remember what was done. What failed changed nothing, and may be tried again by the same id."""
        if work.cancelled() or work.exception() is not None:
            self._remembered.pop(key, None)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    # --- at every other node --------------------------------------------------------------------------------------

    async def _forward(
        self,
        device: DeviceId,
        patch: Value,
        if_match: Version | None,
        terms: Terms,
        origin: Origin,
        write_id: str | None,
    ) -> Written:
        self._queries.desired(device)
        self._require_parent()
        if len(self._outstanding) >= MAX_OUTSTANDING:
            raise RootUnreachable(f"{MAX_OUTSTANDING} writes wait for the root's answer already; nothing was sent")
        self._count += 1
        number = f"{self._boot}-{self._count}"
        write_id = write_id or number
        body: dict[str, Any] = {
            "node": self._peers.node,
            "number": number,
            "id": write_id,
            "device": device.name,
            "patch": patch,
            "priority": terms.priority.value,
            "actor": origin.actor,
        }
        if if_match is not None:
            body["if-match"] = list(if_match)
        waiting = asyncio.get_running_loop().create_future()
        outstanding = self._outstanding[number] = _Outstanding(body, waiting, self._clock.now(), terms.ttl)
        self._send(outstanding)
        try:
            async with asyncio.timeout(ANSWER_TIME):
                answer = await waiting
        except TimeoutError:
            root = self._peers.root_name or "the root"
            message = (
                f"{root} did not answer within {ANSWER_TIME:g} s: whether it took the write is not known. "
                f"Read the twin, or send the same write again with the header Idempotency-Key: {write_id}"
            )
            raise OutcomeUnknown(message, write=write_id, root=self._peers.root_name) from None
        finally:
            del self._outstanding[number]
        return await self._arrived(device, answer)

    def linked(self) -> None:
        """There is a new link to the parent: what is unanswered may have been lost with the old one."""
        for outstanding in self._outstanding.values():
            outstanding.body["again"] = True
            self._send(outstanding)

    def _send(self, outstanding: _Outstanding) -> None:
        parent, body = self._peers.parent, outstanding.body
        if outstanding.ttl is not None:
            left = outstanding.ttl - (self._clock.now() - outstanding.sent_at)
            if left <= 0:
                return
            body["ttl"] = left
        if parent is not None and parent.line is not None:
            parent.line.send_control("write", dict(body))

    def _require_parent(self) -> None:
        parent = self._peers.parent
        if parent is None or parent.line is None or not parent.is_reached:
            root = self._peers.root_name or "the root"
            message = (
                f"desired values are written at {root}, which cannot be reached from {self._peers.node} now; nothing "
                "was changed. Try again when the uplink is back, or override the value at the node that holds the "
                "device: twingateway override, or PUT /twins/NAME/overrides/PROPERTY"
            )
            raise RootUnreachable(message, root=self._peers.root_name)

    async def _arrived(self, device: DeviceId, answer: Any) -> Written:
        """What the root says, as soon as this node has it as well."""
        if "error" in answer:
            raise decode_error(answer["error"])
        try:
            desired = {str(name): wire.parse_version(version) for name, version in answer["desired"].items()}
            twin = wire.parse_version(answer["twin"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolViolation(f"an answer to a write that makes no sense: {error!r}") from error

        def is_here() -> bool:
            stored = {name: self._queries.desired_version(device, name) for name in desired}
            return self._queries.version(device) >= twin and all(
                known is not None and known >= desired[name] for name, known in stored.items()
            )

        await self._events.until(device, is_here, ARRIVAL_TIME)
        late = () if is_here() else ("the root has taken this; this node has not received it yet",)
        return Written(desired, warnings=late)

    # --- control messages -----------------------------------------------------------------------------------------

    def on_write(self, peer: Peer, body: Any) -> None:
        """A child writes, for itself or for a node below it."""
        node = str(body.get("node"))
        if node not in peer.below:
            return
        parent = self._peers.parent
        if self._root:
            self._tasks.start(self._carry_out(peer, dict(body)), "write from below")
        elif parent is not None and parent.line is not None and parent.is_reached:
            parent.line.send_control("write", body)
        elif body.get("again") is not True:  # else it may have been passed on before: nobody knows
            try:
                self._require_parent()
            except RootUnreachable as error:
                _answer(peer, body, {"error": encode_error(error)})

    def on_written(self, peer: Peer, body: Any) -> None:
        """The root answers, to this node or to one below it."""
        if body.get("node") != self._peers.node:
            child = self._peers.via(str(body.get("node")))
            if child is not None and child.line is not None:
                child.line.send_control("written", body)
            return
        outstanding = self._outstanding.get(str(body.get("number")))
        if outstanding is not None and not outstanding.answer.done():
            outstanding.answer.set_result(body)

    async def _carry_out(self, peer: Peer, body: dict[str, Any]) -> None:
        try:
            device, patch, if_match, terms = _parse(peer.namespace, body)
            holder = self._peers.holder(device)
            if holder is None or holder not in peer.below:
                raise NotAuthorized(f"{device.short} is held by no node below {peer.name}")
            actor = str(body.get("actor", ""))[:MAX_ACTOR]
            origin = Origin(f"{actor} via {body['node']}" if actor else str(body["node"]))
            written = await self._once(str(body.get("id"))[:MAX_ID], device, patch, if_match, terms, origin)
        except TwinGatewayError as error:
            log.info("write from below refused", node=body["node"], code=error.code, reason=error.message)
            _answer(peer, body, {"error": encode_error(error)})
            return
        log.info("write from below", node=body["node"], device=str(device), properties=list(written.desired))
        desired = {name: list(version) for name, version in written.desired.items()}
        _answer(peer, body, {"desired": desired, "twin": list(self._queries.version(device))})


def _answer(peer: Peer, body: Mapping[str, Any], answer: dict[str, Any]) -> None:
    if peer.line is not None:
        peer.line.send_control("written", {"node": body["node"], "number": body.get("number"), **answer})


def _parse(namespace: str, body: Mapping[str, Any]) -> tuple[DeviceId, Value, Version | None, Terms]:
    """Raises InvalidDocument, InvalidValue or TooLarge."""
    try:
        device = wire.parse_device(namespace, body["device"])
        if_match = None if body.get("if-match") is None else wire.parse_version(body["if-match"])
        ttl = body.get("ttl")
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl > 0):
            raise ValueError("a ttl is a number above 0")
        terms = Terms(None if ttl is None else float(ttl), Priority(body.get("priority", Priority.NORMAL)))
        return device, normalise(body["patch"], "patch"), if_match, terms
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidDocument(f"a write that makes no sense: {error}") from error


def _meaning(device: DeviceId, patch: Value, if_match: Version | None, terms: Terms) -> str:
    """The same for the same write, however often it is sent: what is left of a ttl is not part of it."""
    return json.dumps([str(device), patch, if_match, terms.priority], sort_keys=True)
