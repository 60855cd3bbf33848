"""How long desired values with a ttl are still wanted: counted at the root, asked for by who is to write them.

The root counts from when it took the write, monotonically and in memory. A holder asks (`want-ttl`) and counts what
it is told (`ttl`) from the moment it *asked*: on the way, however long it takes, a value loses of its time and never
gains. Nodes between pass both on.

Who lost count does not guess. A holder that was restarted asks again and writes nothing until it is told. A root that
was restarted, or that gave the value another version when a store was repaired, says that nothing is left: better a
value that was not written than one that nobody wants any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.gateway.peering import wire
from twingateway.gateway.peering.peers import Peer, Peers
from twingateway.gateway.state.clock import Clock
from twingateway.gateway.state.ledger import Ledger
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section, StoredRegister, Version

#: Questions without an answer that are remembered; one that is forgotten is asked again.
MAX_ASKED = 10_000


class Lifetimes:
    """`boot`: of this store, so that nobody takes an answer for one to a question of another life."""

    def __init__(self, root: bool, peers: Peers, ledger: Ledger, clock: Clock, boot: bytes) -> None:
        self._root = root
        self._peers = peers
        self._clock = clock
        self._boot = boot.hex()
        self._ends: dict[RegisterKey, tuple[Version, float]] = {}
        self._wanted: dict[RegisterKey, Version] = {}
        self._asked: dict[str, float] = {}
        self._questions = 0
        self._watchers: list[Callable[[DeviceId], None]] = []
        ledger.watch(self._on_register, Section.DESIRED)

    def watch(self, watcher: Callable[[DeviceId], None]) -> None:
        """Tell `watcher` of every device with a value of which became known how long it is wanted."""
        self._watchers.append(watcher)

    def now(self) -> float:
        return self._clock.now()

    def begin(self, key: RegisterKey, version: Version, ttl: float, since: float) -> None:
        """At the root: this version is wanted for `ttl` seconds from `since` (monotonic)."""
        self._ends[key] = (version, since + ttl)

    def left(self, key: RegisterKey, version: Version) -> float | None:
        """Seconds, 0 or less when none are; None if that is not known here."""
        known = self._ends.get(key)
        if known is not None and known[0] == version:
            return known[1] - self._clock.now()
        return 0.0 if self._root else None

    def is_counted(self, key: RegisterKey, version: Version) -> bool:
        """Whether this process knows how long it is wanted."""
        known = self._ends.get(key)
        return known is not None and known[0] == version

    def ask(self, key: RegisterKey, version: Version) -> None:
        """Find out, now or when there is a parent to ask; the watchers are told."""
        self._wanted[key] = version
        self._ask(key, version)

    def linked(self) -> None:
        """There is a new link to the parent: what is wanted still is asked there."""
        for key, version in self._wanted.items():
            self._ask(key, version)

    def on_ask(self, peer: Peer, body: Any) -> None:
        """A child asks, for itself or for a node below it."""
        node = str(body.get("node"))
        key, version = _parse(peer.namespace, body)
        if node not in peer.below:
            return
        parent = self._peers.parent
        if self._root and peer.line is not None:
            left = max(0.0, self.left(key, version) or 0.0)
            peer.line.send_control("ttl", {**body, "left": left})
        elif parent is not None and parent.line is not None:
            parent.line.send_control("want-ttl", body)

    def on_told(self, peer: Peer, body: Any) -> None:
        """The parent answers, to this node or to one below it."""
        node = body.get("node")
        if node != self._peers.node:
            child = self._peers.via(str(node))
            if child is not None and child.line is not None:
                child.line.send_control("ttl", body)
            return
        key, version = _parse(peer.namespace, body)
        left, asked = body.get("left"), self._asked.pop(str(body.get("question")), None)
        if isinstance(left, bool) or not isinstance(left, int | float):
            raise ProtocolViolation("what is left of a ttl is a number")
        if asked is None or self._wanted.get(key) != version:
            return
        del self._wanted[key]
        self._ends[key] = (version, asked + left)
        for watcher in self._watchers:
            watcher(key.device)

    def _ask(self, key: RegisterKey, version: Version) -> None:
        parent = self._peers.parent
        if parent is None or parent.line is None:
            return
        self._questions += 1
        question = f"{self._boot}-{self._questions}"
        if len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[question] = self._clock.now()
        body = {
            "node": self._peers.node,
            "question": question,
            "device": key.device.name,
            "property": key.name,
            "version": list(version),
        }
        parent.line.send_control("want-ttl", body)

    def _on_register(self, stored: StoredRegister) -> None:
        key, version = stored.register.key, stored.register.version
        if key in self._ends and self._ends[key][0] != version:
            del self._ends[key]
        if self._wanted.get(key, version) != version:
            del self._wanted[key]


def _parse(namespace: str, body: Any) -> tuple[RegisterKey, Version]:
    try:
        device = wire.parse_device(namespace, body["device"])
        return RegisterKey(device, Section.DESIRED, str(body["property"])), wire.parse_version(body["version"])
    except (KeyError, TypeError, ValueError, InvalidValue) as error:
        raise ProtocolViolation(f"a question about a ttl that makes no sense: {error}") from error
