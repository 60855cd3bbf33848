"""The models this node knows, compiled once, and how nodes share them.

A model is immutable by `name@version` and digest. Another content under the same name is refused, except that the
root's wins: a model that comes from the parent replaces a different one of this node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from twingateway.errors import (
    InvalidDocument,
    InvalidValue,
    ModelConflict,
    ProtocolViolation,
    StoreError,
    TooLarge,
    TwinGatewayError,
    UnknownModel,
)
from twingateway.gateway.peering.peers import Direction, Line, Peer, Peers
from twingateway.gateway.state.committer import Committer
from twingateway.gateway.state.ledger import Ledger
from twingateway.gateway.state.tasks import Tasks
from twingateway.ports.store import StoredModel
from twingateway.twin.model import Model
from twingateway.twin.parse_model import parse_model
from twingateway.validation.documents import DOCUMENT_BYTES, DOCUMENT_DEPTH, check_model
from twingateway.validation.foreign_model import read_foreign
from twingateway.validation.model import CompiledModel
from twingateway.validation.normalise import normalise

log = structlog.get_logger("models")

#: Models that one message announces.
MODELS_AT_ONCE = 1000
#: Paths that a notice names.
SHOWN = 20
#: Seconds between two attempts at a store that refuses.
RETRY_SECONDS = 1.0


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
        self._adding = asyncio.Lock()
        for model in stored:
            self._models[model.namespace, model.ref] = CompiledModel(read_foreign(json.loads(model.document))[0])

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
        async with self._adding:  # of two contents under one name the second is refused
            return await self._add(namespace, model, replace)

    async def _add(self, namespace: str, model: Model, replace: bool) -> bool:
        ref = str(model.ref)
        known = self.find(namespace, ref)
        if known is not None and known.model.digest == model.digest:
            return False
        if known is not None and not replace:
            raise ModelConflict(f"{ref} exists with other content; give the changed model a new version")
        document = json.dumps(dict(model.document), separators=(",", ":"), sort_keys=True)
        await asyncio.shield(self._committer.submit(models=[StoredModel(namespace, ref, model.digest, document)]))
        self._models[namespace, ref] = CompiledModel(model)
        for watcher in self._watchers:
            watcher(namespace, ref)
        for peer in self._peers:
            if peer.namespace == namespace and peer.line is not None:
                self._announce(peer.line, [model])
        return True

    def announce(self, peer: Peer, line: Line) -> None:
        """Tell a peer which models are here (on every new link, which is `line`)."""
        models = self.all(peer.namespace)
        for first in range(0, len(models), MODELS_AT_ONCE):
            self._announce(line, models[first : first + MODELS_AT_ONCE])

    def _announce(self, line: Line, models: Sequence[Model]) -> None:
        line.send_control("models", {"have": {str(model.ref): model.digest for model in models}})

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
        for ref in {ref for ref in refs if isinstance(ref, str)}:
            found = self.find(peer.namespace, ref)
            if found is not None and peer.line is not None:
                peer.line.send_control("model", {"document": dict(found.model.document)})

    def on_model(self, peer: Peer, body: Any) -> None:
        try:
            model, ignored = read_foreign(
                normalise(body.get("document"), max_depth=DOCUMENT_DEPTH, max_bytes=DOCUMENT_BYTES)
            )
        except (InvalidDocument, InvalidValue, TooLarge) as error:
            raise ProtocolViolation(f"a model that is none: {error.message}") from error
        self._tasks.start(self._take(peer, model, ignored), f"model {model.ref}")

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

    async def _take(self, peer: Peer, model: Model, ignored: Sequence[str]) -> None:
        while True:
            try:
                added = await self.add(peer.namespace, model, replace=peer.direction is Direction.PARENT)
            except StoreError as error:
                log.warning("a model waits for the store", model=str(model.ref), reason=error.message)
                await asyncio.sleep(RETRY_SECONDS)
            except TwinGatewayError as error:
                return self._ledger.notice(error.code, error.message)
            else:
                if added and ignored:
                    self._tell_ignored(model, ignored)
                return None

    def _tell_ignored(self, model: Model, ignored: Sequence[str]) -> None:
        shown = ", ".join(ignored[:SHOWN])
        message = f"the model {model.ref} was made for a newer version: this node ignores {shown}"
        self._ledger.notice("model-not-understood", message, model=str(model.ref), ignored=list(ignored[:SHOWN]))


def read_model(document: Any) -> Model:
    """A checked model from a document. Raises InvalidDocument with everything that is wrong."""
    report = check_model(document)
    if report.problems:
        raise InvalidDocument("this is not a valid DeviceModel", report.problems)
    return parse_model(document)
