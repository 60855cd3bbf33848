"""What happens between two nodes besides registers: arriving, leaving, and the control messages, by one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from twingateway.errors import ProtocolViolation
from twingateway.gateway.clock import Clock
from twingateway.gateway.ledger import Draft, Ledger
from twingateway.gateway.models import ModelBook
from twingateway.gateway.ownership import Ownership
from twingateway.gateway.peers import NODES, Direction, Peer, Peers
from twingateway.gateway.table import TwinTable
from twingateway.gateway.tasks import Tasks
from twingateway.sync.events import PeerRefused
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section

log = structlog.get_logger("session")

#: Name of the register in a node's `reach` section.
REACH = "state"


class Sessions:
    """Implements the carriers' PeerEvents."""

    def __init__(
        self,
        peers: Peers,
        ownership: Ownership,
        models: ModelBook,
        table: TwinTable,
        ledger: Ledger,
        clock: Clock,
        tasks: Tasks,
        on_rolled_back: Callable[[Peer], None],
    ) -> None:
        self._peers = peers
        self._ownership = ownership
        self._models = models
        self._table = table
        self._ledger = ledger
        self._clock = clock
        self._tasks = tasks
        self._on_rolled_back = on_rolled_back
        self._kinds: dict[str, Callable[[Peer, Any], None]] = {
            "about": self._on_about,
            "claim": ownership.on_claim,
            "claim-refused": ownership.on_claim_refused,
            "restore": ownership.on_restore,
            "want-root": ownership.on_want_root,
            "root-registers": ownership.on_root_registers,
            "models": models.on_models,
            "want-models": models.on_want,
            "model": models.on_model,
        }

    def linked(self, peer: Peer) -> None:
        peer.since = self._clock.wall_ms()
        log.info("linked", peer=peer.name, direction=peer.direction.value)
        if peer.line is None:
            return
        if peer.direction is Direction.CHILD:
            self._tell_root(peer)
            self._reach(peer, "up")
        else:
            self._ownership.claim_at(peer)
        self._models.announce(peer)

    def unlinked(self, peer: Peer) -> None:
        peer.since = self._clock.wall_ms()
        log.info("unlinked", peer=peer.name, direction=peer.direction.value)
        if peer.direction is Direction.CHILD:
            self._reach(peer, "down")

    def control(self, peer: Peer, kind: str, body: Any) -> None:
        handler = self._kinds.get(kind)
        if handler is None:
            log.debug("ignoring a control message of a newer version", kind=kind, peer=peer.name)
            return
        if not isinstance(body, dict):
            raise ProtocolViolation(f"the body of {kind!r} is not an object")
        handler(peer, body)

    def refused(self, peer: Peer, event: PeerRefused) -> None:
        self._ledger.notice(
            "register-refused",
            f"{peer.name} refused {event.key}: {event.message}",
            event.key.device,
            refusal=event.code,
        )

    def rolled_back(self, peer: Peer) -> None:
        self._on_rolled_back(peer)

    def mark_down(self) -> None:
        """At the start no child has a session, whatever the last life of this node saw."""
        drafts = []
        for node in self._table.devices():
            value = self._table.value(node, Section.REACH, REACH)
            if isinstance(value, dict) and value.get("state") == "up":
                down = {**value, "state": "down", "since": self._clock.wall_ms()}
                drafts.append(Draft(RegisterKey(node, Section.REACH, REACH), down))
        if drafts:
            self._tasks.start(self._ledger.write(drafts), "reach after the start")

    def _tell_root(self, child: Peer) -> None:
        root = self._peers.root_name
        if root is not None and child.line is not None:
            child.line.send_control("about", {"root": root})

    def _on_about(self, peer: Peer, body: Any) -> None:
        if peer.direction is not Direction.PARENT or not isinstance(body.get("root"), str):
            raise ProtocolViolation("only a parent tells who the root is")
        self._peers.root_name = body["root"]
        for other in self._peers:
            if other.direction is Direction.CHILD:
                self._tell_root(other)

    def _reach(self, peer: Peer, state: str) -> None:
        key = RegisterKey(DeviceId(NODES, peer.name), Section.REACH, REACH)
        draft = Draft(key, {"state": state, "since": peer.since, "namespace": peer.namespace})
        self._tasks.start(self._ledger.write([draft]), f"reach of {peer.name}")
