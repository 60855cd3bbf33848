"""What happens between two nodes besides registers: arriving, leaving, and the control messages, by one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from twingateway.errors import ProtocolViolation
from twingateway.gateway.devices.lifetimes import Lifetimes
from twingateway.gateway.devices.models import ModelBook
from twingateway.gateway.holding.ownership import Ownership
from twingateway.gateway.holding.repair import Repair
from twingateway.gateway.holding.statements import Statements
from twingateway.gateway.peering.journal_lane import JournalEvents
from twingateway.gateway.peering.namesakes import Namesakes
from twingateway.gateway.peering.peers import Direction, Line, Peer, Peers
from twingateway.gateway.peering.reach import NODES, reach_key, reach_value
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.table import TwinTable
from twingateway.gateway.twins.verdicts import Verdicts
from twingateway.gateway.twins.writes import Writes
from twingateway.sync.events import PeerRefused
from twingateway.twin.presence import Reach
from twingateway.twin.register import RegisterKey
from twingateway.twin.value import Value

log = structlog.get_logger("session")

#: Characters of a name from a peer that are kept.
MAX_NAME = 255


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
        statements: Statements,
        repair: Repair,
        journal: JournalEvents,
        lifetimes: Lifetimes,
        verdicts: Verdicts,
        writes: Writes,
    ) -> None:
        self.journal = journal
        self._peers = peers
        self._ownership = ownership
        self._passage = ownership.passage
        self._models = models
        self._table = table
        self._ledger = ledger
        self._clock = clock
        self._statements = statements
        self._repair = repair
        self._lifetimes = lifetimes
        self._verdicts = verdicts
        self._writes = writes
        self._insistence = statements.insistence
        self._namesakes = Namesakes(clock, ledger)
        child, parent = frozenset({Direction.CHILD}), frozenset({Direction.PARENT})
        self._kinds: dict[str, tuple[frozenset[Direction], Callable[[Peer, Any], None]]] = {
            "about": (parent, self._on_about),
            "claim": (child, self._on_claim),
            "claim-refused": (parent, ownership.on_claim_refused),
            "claim-again": (parent, ownership.on_claim_again),
            "restore": (parent, ownership.on_restore),
            "said": (parent, self._on_said),
            "want-root": (parent, ownership.on_want_root),
            "root-registers": (child, self._passage.on_root_registers),
            "models": (child | parent, models.on_models),
            "want-models": (child | parent, models.on_want),
            "model": (child | parent, models.on_model),
            "want-ttl": (child, lifetimes.on_ask),
            "ttl": (parent, lifetimes.on_told),
            "write": (child, writes.on_write),
            "written": (parent, writes.on_written),
        }
        """Kind of a control message → who may send it, and what it does."""

    def linked(self, peer: Peer) -> None:
        line = peer.newest
        if line is None:
            return
        facts = line.facts()
        log.info("linked", peer=peer.name, direction=peer.direction.value, transport=facts.transport)
        self.reached(peer)
        self._begin(peer, line)

    def unlinked(self, peer: Peer, *, sent: bool) -> None:
        log.info("unlinked", peer=peer.name, direction=peer.direction.value, links=len(peer.lines))
        if peer.direction is Direction.CHILD and not peer.lines and not self._is_replaced(peer):
            self._passage.unlinked(peer)
        self.reached(peer)
        if sent and peer.line is not None:  # what was said on that link, here and there, may never have arrived
            self._begin(peer, peer.line)
            if peer.direction is Direction.CHILD:
                self._passage.hear_again(peer, peer.line)

    def _begin(self, peer: Peer, line: Line) -> None:
        """Say and ask what each end has to on a link that control messages go on from now on."""
        if peer.direction is Direction.CHILD:
            self._tell_root(line)
        else:
            self._ownership.claim_at(peer)
            self._lifetimes.linked()
            self._insistence.linked()
            self._writes.linked()
        self._models.announce(peer, line)

    def reached(self, peer: Peer) -> None:
        if peer.up == peer.is_reached:
            return
        peer.up = peer.is_reached
        peer.since = self._clock.wall_ms()
        log.info("within reach" if peer.up else "out of reach", peer=peer.name, direction=peer.direction.value)
        if peer.direction is Direction.CHILD and not self._is_replaced(peer):
            self._reach(peer)

    def _is_replaced(self, child: Peer) -> bool:
        """The store has a new identity since, and with that another session with this node, which it is heard on."""
        present = self._peers.known_child(child.name, child.namespace)
        return present is not None and present is not child and present.is_reached

    def turned_away(self, peer: Peer, line: Line) -> None:
        self._namesakes.turned_away(peer, line)

    def control(self, peer: Peer, kind: str, body: Any) -> None:
        senders, handler = self._kinds.get(kind, (None, None))
        if senders is None or handler is None:
            log.debug("ignoring a control message of a newer version", kind=kind, peer=peer.name)
            return
        if peer.direction not in senders:
            raise ProtocolViolation(f"a {peer.direction.value} sends no {kind!r}")
        if not isinstance(body, dict):
            raise ProtocolViolation(f"the body of {kind!r} is not an object")
        handler(peer, body)

    def refused(self, peer: Peer, event: PeerRefused) -> None:
        if self._insistence.refused(peer, event):
            self._ledger.notice(
                "register-refused",
                f"{peer.name} refused {event.key}: {event.message}",
                event.key.device,
                refusal=event.code,
            )

    def rolled_back(self, peer: Peer, forked_at: int) -> None:
        self._repair.begin(peer.name, forked_at)

    def mark_down(self) -> None:
        """At the start no child has a session, whatever the last life of this node saw. Of the nodes below its
        children the children speak."""
        down: dict[RegisterKey, Value] = {}
        for node in self._table.devices():
            key = reach_key(node.name, self._peers.node)
            value = self._table.value(*key) if node.namespace == NODES else None
            if isinstance(value, dict) and Reach.from_value(value).up:
                down[key] = self._unheard(node.name, str(value.get("namespace")), self._clock.wall_ms())
        self._statements.say(down)

    def _on_claim(self, peer: Peer, body: Any) -> None:
        self._passage.on_claim(peer, body)
        self._verdicts.met(peer)

    def _on_said(self, peer: Peer, body: Any) -> None:
        if not self._passage.passed_down("said", body):
            self._repair.on_said(peer, body)

    def _tell_root(self, line: Line) -> None:
        root = self._peers.root_name
        if root is not None:
            line.send_control("about", {"root": root})

    def _on_about(self, peer: Peer, body: Any) -> None:
        root = body.get("root")
        if not isinstance(root, str) or not 0 < len(root) <= MAX_NAME:
            raise ProtocolViolation("the root has a name")
        self._peers.root_name = root
        for other in self._peers:
            if other.direction is Direction.CHILD and other.line is not None:
                self._tell_root(other.line)

    def _reach(self, peer: Peer) -> None:
        value = reach_value(Reach(True, peer.since), peer.namespace)
        if not peer.up:
            value = self._unheard(peer.name, peer.namespace, peer.since)
        self._statements.say({reach_key(peer.name, self._peers.node): value})

    def _unheard(self, node: str, namespace: str, since: int) -> dict[str, Value]:
        message = f"the node {node} is not heard by {self._peers.node}"
        return reach_value(Reach(False, since, "node-unreachable", message), namespace)
