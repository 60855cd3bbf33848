"""The twins of a node as documents for a broker that is no node of ours, and desired values that come from there.

The node is the root of its devices then (nobody above it writes registers), so a change that comes by the broker is a
write like one at its own API, and is judged the same way. A document holds what is known when it leaves: one per
device and kind, made anew from the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import structlog

from twingateway.errors import InvalidDocument, Problem, TooLarge, TwinGatewayError
from twingateway.gateway.peering.peers import Peers
from twingateway.gateway.peering.reach import NODES
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.commands import Commands
from twingateway.gateway.twins.queries import Queries
from twingateway.mqtt.broker_client import Document
from twingateway.mqtt.topics import DOCUMENTS, Kind, TwinTopic, node_topic, sets_filter
from twingateway.twin.desired import PLAIN, Origin
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, StoredRegister, Version
from twingateway.twin.value import Value
from twingateway.validation.normalise import normalise

log = structlog.get_logger("uplink")

#: Bytes of a message that is read.
MAX_SET = 64 * 1024
#: Results that wait for being sent; of one device the newest.
MAX_RESULTS = 1000
#: What a register's change is to be told by.
_TOLD_BY: Mapping[Section, tuple[Kind, ...]] = {
    Section.REPORTED: (Kind.REPORTED,),
    Section.DESIRED: (Kind.DESIRED, Kind.ACK),
    Section.ACK: (Kind.ACK,),
    Section.PRESENCE: (Kind.PRESENCE,),
    Section.LIFECYCLE: DOCUMENTS,
}
_SET_MEMBERS = frozenset({"properties", "version", "id"})


class Mirror:
    """Devices of `namespace`. `offer` is told each topic that has news."""

    def __init__(
        self,
        namespace: str,
        peers: Peers,
        table: TwinTable,
        queries: Queries,
        commands: Commands,
        ledger: Ledger,
        offer: Callable[[str], None],
    ) -> None:
        self.namespace = namespace
        self._peers = peers
        self._table = table
        self._queries = queries
        self._commands = commands
        self._offer = offer
        self._results: dict[TwinTopic, dict[str, Value]] = {}
        self._documents: Mapping[Kind, Callable[[DeviceId], dict[str, Value]]] = {
            Kind.REPORTED: self._reported,
            Kind.DESIRED: self._desired,
            Kind.ACK: self._acks,
            Kind.PRESENCE: self._presence,
        }
        ledger.watch(self._on_register, *_TOLD_BY, Section.REACH)

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return (sets_filter(self.namespace),)

    @property
    def node_topic(self) -> str:
        return node_topic(self.namespace, self._peers.node)

    def topics(self) -> Iterator[str]:
        """Everything there is to tell."""
        yield self.node_topic
        for device in list(self._table.devices()):
            yield from self._topics_of(device, DOCUMENTS)

    def render(self, topic: str) -> Document | None:
        """What a topic is to say now; an empty document takes back what is retained of a twin that is gone."""
        if topic == self.node_topic:
            return Document(_encode({"state": "up"}))
        about = TwinTopic.parse(topic)
        if about is None:
            return None
        if about.kind is Kind.RESULT:
            result = self._results.pop(about, None)
            return None if result is None else Document(_encode(result), retain=False)
        device = DeviceId(about.namespace, about.device)
        make = self._documents.get(about.kind)
        if make is None:
            return None
        return Document(_encode(make(device)) if self._queries.exists(device) else b"")

    def last_will(self) -> bytes:
        return _encode({"state": "down"})

    async def take(self, topic: str, payload: bytes, actor: str) -> None:
        """A message on a `desired/set` topic: `{"properties": {…}, "version": …, "id": …}`. What becomes of it is
        said on `desired/result`."""
        about = TwinTopic.parse(topic)
        if about is None or about.kind is not Kind.SET or about.namespace != self.namespace:
            log.warning("a message on a topic that is not listened to", topic=topic)
            return
        result: dict[str, Value] = {}
        try:
            wanted = _read(payload)
            if "id" in wanted:
                result["id"] = wanted["id"]
            result["version"] = await self._write(DeviceId(about.namespace, about.device), wanted, actor)
        except TwinGatewayError as error:
            log.info("a desired value was not taken", topic=topic, code=error.code, reason=error.message)
            result["error"] = {"code": error.code, "message": error.message}
        answered = about._replace(kind=Kind.RESULT)
        self._results.pop(answered, None)
        self._results[answered] = result
        while len(self._results) > MAX_RESULTS:
            del self._results[next(iter(self._results))]
        self._offer(str(answered))

    async def _write(self, device: DeviceId, wanted: Mapping[str, Any], actor: str) -> str:
        version = wanted.get("version")
        if_match = None if version is None else Version.parse(str(version))
        patch: Value = {"spec": {"desiredProperties": wanted["properties"]}}
        await self._commands.patch(device, patch, if_match, PLAIN, Origin(actor))
        return str(self._queries.version(device))

    # --- documents ------------------------------------------------------------------------------------------------

    def _reported(self, device: DeviceId) -> dict[str, Value]:
        stored = self._table.section(device, Section.REPORTED).values()
        return {"properties": self._table.values(device, Section.REPORTED), "time": _newest(stored)}

    def _desired(self, device: DeviceId) -> dict[str, Value]:
        values, version = self._queries.desired(device)
        return {"properties": values, "version": str(version)}

    def _acks(self, device: DeviceId) -> dict[str, Value]:
        names = sorted(self._table.values(device, Section.DESIRED))
        acks = ((name, self._queries.ack(device, name)) for name in names)
        return {"properties": {name: ack.to_value() for name, ack in acks if ack is not None}}

    def _presence(self, device: DeviceId) -> dict[str, Value]:
        bad = self._queries.quality(device).to_value().get("bad")
        named = {} if bad is None else {"bad": bad}
        return {**self._queries.presence(device).to_value(), "node": self._peers.holder(device), **named}

    # --- news -----------------------------------------------------------------------------------------------------

    def _on_register(self, stored: StoredRegister) -> None:
        device, section, _ = stored.register.key
        if section is Section.REACH:
            for held in list(self._peers.held_by(device.name)):
                self._offer_all(self._topics_of(held, (Kind.PRESENCE,)))
        else:
            self._offer_all(self._topics_of(device, _TOLD_BY.get(section, ())))

    def _offer_all(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._offer(topic)

    def _topics_of(self, device: DeviceId, kinds: Iterable[Kind]) -> Iterator[str]:
        if device.namespace == self.namespace and device.namespace != NODES:
            for kind in kinds:
                yield str(TwinTopic(device.namespace, device.name, kind))


def _encode(document: Mapping[str, Value]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _newest(stored: Iterable[StoredRegister]) -> int:
    return max((each.register.time for each in stored), default=0)


def _read(payload: bytes) -> dict[str, Any]:
    """Raises InvalidDocument, InvalidValue or TooLarge."""
    if len(payload) > MAX_SET:
        raise TooLarge(f"a message of {len(payload)} bytes; at most {MAX_SET} are read")
    try:
        wanted = normalise(json.loads(payload), "message")
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"this is not JSON: {error}") from error
    if not isinstance(wanted, dict) or not isinstance(wanted.get("properties"), dict):
        problem = Problem("expected an object with `properties`", "", "type")
        raise InvalidDocument("desired values are set by an object with `properties`", [problem])
    strange = sorted(wanted.keys() - _SET_MEMBERS)
    if strange:
        raise InvalidDocument(f"unknown members: {', '.join(strange)}", [Problem("unknown", strange[0], "members")])
    try:
        Version.parse(str(wanted["version"]) if wanted.get("version") is not None else "0.0.0")
    except ValueError as error:
        raise InvalidDocument(str(error), [Problem(str(error), "version", "format")]) from error
    return wanted
