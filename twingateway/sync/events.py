"""What a session tells its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from twingateway.sync.hello import Hello
from twingateway.twin.record import record
from twingateway.twin.register import Register, RegisterKey, Version


@record
class RegistersReceived:
    """Apply these (iff greater), refuse those you must, then `Session.committed(link, frame)` once all the others
    are durable. Registers that were offered before may be among them: they count as durable when they are."""

    frame: int
    registers: tuple[Register, ...]


@dataclass(frozen=True, slots=True)
class ResumeNeeded:
    """Answer with `Session.resume`: the peer may lack registers that are not in the outbox."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class CompareNeeded:
    """Answer with `Session.compare`: the peer wants hashes of what we have from it."""


@record
class LowAdvanced:
    """Everything of the peer's store up to `low` is durable here; persist it (a late or lost write does no harm)."""

    low: int
    boot_id: bytes
    lsn: int
    store_id: bytes


@dataclass(frozen=True, slots=True)
class PeerStoreChanged:
    """The peer's store has a new id or a new boot; persist it like `LowAdvanced`. `previous` is the store id known
    before, empty for none."""

    low: int
    boot_id: bytes
    lsn: int
    store_id: bytes
    previous: bytes


@record
class Durable:
    """The peer has made this version durable; its outbox entry is gone."""

    key: RegisterKey
    version: Version
    lsn: int


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The peer will not have this version; its outbox entry is gone."""

    key: RegisterKey
    version: Version
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ControlReceived:
    """An application message of the peer's."""

    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LocalRolledBack:
    """The peer was told of a boot or lsn that this store does not know: this store is an older copy of itself.

    The session sends no register any more; repair the store and start a new session with its new identity.
    `forked_at`: the last lsn from before this history of the store began, as far as that can be told.
    """

    forked_at: int


@dataclass(frozen=True, slots=True)
class FormerProcess:
    """This link is of a process of the peer's that ended before the present one began: what it sent arrived late.
    Nothing more is taken from it; close it."""


Event: TypeAlias = (
    RegistersReceived
    | ResumeNeeded
    | CompareNeeded
    | LowAdvanced
    | PeerStoreChanged
    | Durable
    | PeerRefused
    | ControlReceived
    | LocalRolledBack
    | FormerProcess
)
