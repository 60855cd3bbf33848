"""What goes ahead of a link's handshake: copies of the newest `reported` registers, each message whole by itself.

It can be recorded and sent again by anybody, so it says nothing that could do harm twice: registers, of which a
receiver takes those that are newer than what it has. No answer, no `low`, no names for later, no link: nobody
acknowledges it, and everything in it is sent again on the link itself.

A receiver uses it only if it knows the very process that it comes from, and notes how far that has got (`top`).
Otherwise a store that is put back to an older copy later could issue the same versions again, and nobody would know
that it had issued them before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twingateway.errors import ProtocolViolation
from twingateway.sync.builder import FrameBuilder
from twingateway.sync.cbor import decode, encode
from twingateway.sync.frame import decode_frame
from twingateway.sync.names import NameGiver
from twingateway.sync.outbox import Entry, Outbox
from twingateway.sync.receiver import Receiver
from twingateway.twin.register import Register, Section

#: Registers that are looked at for one flight.
_MOST = 512
#: Bytes around boot id and frame.
_HEADS = 8


def early_messages(boot_id: bytes, outbox: Outbox, top: int, rooms: Sequence[int]) -> Iterator[bytes]:
    """Messages of at most so many bytes, those with the newest registers first. `top`: the store's last lsn."""
    waiting = [entry for entry in outbox.newest(_MOST) if entry.register.key.section is Section.REPORTED]
    for room in rooms:
        builder = FrameBuilder(1, top, 0, None, NameGiver(), room - len(boot_id) - _HEADS)
        left: list[Entry] = [entry for entry in waiting if not builder.add(entry)]
        if not builder.registers:
            return
        waiting = left
        yield encode([boot_id, builder.encode()])


def read_early(message: bytes) -> tuple[bytes, int, tuple[Register, ...]]:
    """(boot id of the sender, its last lsn, registers). Raises ProtocolViolation."""
    item = decode(message, 1)
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, bytes) for part in item):
        raise ProtocolViolation("early data is [boot id, frame]")
    boot_id, data = item
    frame = decode_frame(data)
    if frame.answer is not None or frame.low:
        raise ProtocolViolation("early data answers nothing and says nothing of low")
    registers = Receiver().receive(frame)
    if any(register.key.section is not Section.REPORTED for register in registers):
        raise ProtocolViolation("early data carries reported registers only")
    return boot_id, frame.top, registers
