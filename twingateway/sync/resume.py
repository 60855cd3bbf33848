"""What a peer's hello asks us to send again: one table, without state.

The rows are tried from the top; the first whose condition holds decides. `low` is the peer's own word about what it
made durable, so it holds even for a peer we have forgotten; it is worth nothing if it is about another store of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from twingateway.sync import buckets
from twingateway.sync.hello import Hello
from twingateway.sync.knowledge import LocalStore
from twingateway.twin.register import StoredRegister


class Resume(Enum):
    """What the outbox must hold besides what it holds."""

    ROLLED_BACK = "rolled back"  # nothing may be sent: our store is an older copy of itself
    NOTHING = "nothing"  # it is complete
    SINCE = "since"  # registers with an lsn above the hello's low
    BUCKETS = "buckets"  # registers in buckets whose hashes differ
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Position:
    """The peer's store as we know it.

    `known_store`: its id, empty for none. `complete_for`: the peer's (store, boot) against which our outbox is known
    to hold everything the peer lacks.
    """

    known_store: bytes = b""
    complete_for: tuple[bytes, bytes] | None = None


def decide(local: LocalStore, last_lsn: int, position: Position, hello: Hello) -> Resume:
    """The table."""
    ours = hello.peer_store_id == local.store_id
    table = (
        (ours and _rolled_back(local, hello), Resume.ROLLED_BACK),
        (position.complete_for == (hello.store_id, hello.boot_id), Resume.NOTHING),
        (not hello.peer_store_id, Resume.EVERYTHING),
        (not ours, Resume.BUCKETS),
        (hello.low > hello.peer_lsn, Resume.BUCKETS),
        (position.known_store not in (b"", hello.store_id), Resume.BUCKETS),
        (hello.low >= last_lsn, Resume.NOTHING),
    )
    return next((answer for holds, answer in table if holds), Resume.SINCE)


def lacking(resume: Resume, low: int, theirs: bytes, registers: Iterable[StoredRegister]) -> Iterable[StoredRegister]:
    """Those of `registers`, all that are in the peer's scope, that it has to be sent. `low`: of its hello. `theirs`:
    its bucket hashes, if it was asked for them."""
    if resume is Resume.SINCE:
        return (stored for stored in registers if stored.lsn > low)
    if resume is not Resume.BUCKETS:
        return registers
    registers = list(registers)
    differ = buckets.unequal(buckets.hashes(stored.register for stored in registers), theirs)
    return (stored for stored in registers if buckets.bucket_of(stored.register.key) in differ)


def _rolled_back(local: LocalStore, hello: Hello) -> bool:
    """Whether the peer knows more of our store than our store does.

    Of the running boot we know everything, so only earlier ones are looked up.
    """
    if local.gap(hello.low) is not None or local.gap(hello.peer_lsn) is not None:
        return True
    if hello.peer_boot_id in (b"", local.boot_id):
        return False
    issued = local.boots.get(hello.peer_boot_id)
    return issued is None or hello.peer_lsn > issued
