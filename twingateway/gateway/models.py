"""The models this node knows, compiled once, and how nodes share them.

A model is immutable by `name@version` and digest. Another content under the same name is refused, except that the
root's wins: a model that comes from the parent replaces a different one of this node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from twingateway.errors import InvalidDocument, ModelConflict, ProtocolViolation, TwinGatewayError, UnknownModel
from twingateway.gateway.committer import Committer
from twingateway.gateway.ledger import Ledger
from twingateway.gateway.peers import Direction, Peer, Peers
from twingateway.gateway.tasks import Tasks
from twingateway.ports.store import StoredModel
from twingateway.twin.model import Model
from twingateway.twin.parse_model import parse_model
from twingateway.validation.documents import check_model
from twingateway.validation.model import CompiledModel

log = structlog.get_logger("models")


class ModelBook:
    """Models by namespace and reference."""

    def __init__(
        self, committer: Committer, peers: Peers, ledger: Ledger, tasks: Tasks, stored: Iterable[StoredModel] = ()
    ) -> None:
        self._committer = committer
        self._peers = peers
        self._ledger = ledger
        self._tasks = tasks
        self._models: dict[tuple[str, str], CompiledModel] = {}
        self._watchers: list[Callable[[str, str], None]] = []
        for model in stored:
            self._models[model.namespace, model.ref] = CompiledModel(parse_model(json.loads(model.document)))

    def watch(self, watcher: Callable[[str, str], None]) -> None:
        """Tell `watcher` (namespace, reference) of every model that becomes known."""
        self._watchers.append(watcher)

    def find(self, namespace: str, ref: str) -> CompiledModel | None:
        return self._models.get((namespace, ref))

    def get(self, namespace: str, ref: str) -> Model:
        """Raises UnknownModel."""
        found = self.find(namespace, ref)
        if found is None:
            raise UnknownModel(f"there is no model {ref} in the namespace {namespace}")
        return found.model

    def all(self, namespace: str) -> list[Model]:
        return [compiled.model for (ns, _), compiled in sorted(self._models.items()) if ns == namespace]

    async def add(self, namespace: str, model: Model, *, replace: bool = False) -> bool:
        """Store and share a model; False when it was here already. Raises ModelConflict, StoreError."""
        ref = str(model.ref)
        known = self.find(namespace, ref)
        if known is not None and known.model.digest == model.digest:
            return False
        if known is not None and not replace:
            raise ModelConflict(f"{ref} exists with other content; give the changed model a new version")
        document = json.dumps(dict(model.document), separators=(",", ":"), sort_keys=True)
        await self._committer.commit(models=[StoredModel(namespace, ref, model.digest, document)])
        self._models[namespace, ref] = CompiledModel(model)
        for watcher in self._watchers:
            watcher(namespace, ref)
        for peer in self._peers:
            self.announce(peer)
        return True

    def announce(self, peer: Peer) -> None:
        """Tell a peer which models are here (on every new link, and when one is new)."""
        have = {str(model.ref): model.digest for model in self.all(peer.namespace)}
        if have and peer.line is not None:
            peer.line.send_control("models", {"have": have})

    def on_models(self, peer: Peer, body: Any) -> None:
        """A peer tells what it has: ask for what is missing here, and for the parent's where ours differs."""
        have = body.get("have")
        if not isinstance(have, dict):
            raise ProtocolViolation("a list of models is an object from reference to digest")
        wanted = [ref for ref, digest in have.items() if self._wants(peer, str(ref), digest)]
        if wanted and peer.line is not None:
            peer.line.send_control("want-models", {"refs": wanted})

    def on_want(self, peer: Peer, body: Any) -> None:
        refs = body.get("refs")
        if not isinstance(refs, list):
            raise ProtocolViolation("wanted models are a list of references")
        for ref in refs:
            found = self.find(peer.namespace, str(ref))
            if found is not None and peer.line is not None:
                peer.line.send_control("model", {"document": dict(found.model.document)})

    def on_model(self, peer: Peer, body: Any) -> None:
        document = body.get("document")
        problems = check_model(document).problems
        if problems:
            raise ProtocolViolation(f"a model that is none: {problems[0]}")
        model = parse_model(document)
        self._tasks.start(self._take(peer, model), f"model {model.ref}")

    def _wants(self, peer: Peer, ref: str, digest: object) -> bool:
        known = self.find(peer.namespace, ref)
        if known is None:
            return True
        if known.model.digest == digest:
            return False
        if peer.direction is Direction.CHILD:
            message = f"{peer.name} has another content under {ref}; the root's is kept"
            self._ledger.notice("model-conflict", message)
        return peer.direction is Direction.PARENT

    async def _take(self, peer: Peer, model: Model) -> None:
        try:
            await self.add(peer.namespace, model, replace=peer.direction is Direction.PARENT)
        except TwinGatewayError as error:
            self._ledger.notice(error.code, error.message)


def read_model(document: Any) -> Model:
    """A checked model from a document. Raises InvalidDocument with everything that is wrong."""
    report = check_model(document)
    if report.problems:
        raise InvalidDocument("this is not a valid DeviceModel", report.problems)
    return parse_model(document)
