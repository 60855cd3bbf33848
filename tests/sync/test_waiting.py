"""What waits goes in the order of its queues, each register once and in its newest version."""

from tests.sync.world import key, register
from twingateway.sync.builder import FrameBuilder
from twingateway.sync.names import NameGiver
from twingateway.sync.outbox import DATAGRAM_QUEUES, Outbox, Queue
from twingateway.sync.waiting import Waiting
from twingateway.twin.register import StoredRegister

ROOM = 1000


class Link:
    """An outbox and what waits of it on a link with datagrams of `ROOM` bytes."""

    def __init__(self):
        self.outbox = Outbox()
        self.waiting = Waiting(ROOM)
        self.frames = 0

    def put(self, name, value, lsn, urgent=False):
        entry = self.outbox.put(StoredRegister(register(lsn, value, key(name)), lsn), urgent)
        self.waiting.offer(entry)
        return entry

    def filled(self, queues=DATAGRAM_QUEUES, room=ROOM):
        """The values of one frame."""
        self.frames += 1
        builder = FrameBuilder(self.frames, 0, 0, None, NameGiver(), room)
        self.waiting.fill(builder, queues)
        return [member[1].value for member in builder.sent]


def test_urgent_goes_before_lost_and_lost_before_routine():
    link = Link()
    lost = link.put("lost", "lost", 1)
    assert link.filled() == ["lost"]
    link.put("new", "new", 2)
    link.waiting.again(lost)
    link.put("urgent", "urgent", 3, urgent=True)
    assert (link.waiting.small, link.waiting.urgent) == (3, 1)
    assert link.filled() == ["urgent", "lost", "new"]
    assert link.filled() == []
    assert lost.frame == 2, "the newest that carries it"


def test_a_newer_version_keeps_the_place_and_one_that_became_urgent_goes_first():
    link = Link()
    for lsn, (name, value) in enumerate([("a", 1), ("b", 2), ("a", 3)], 1):
        link.put(name, value, lsn)
    link.put("b", 4, 4, urgent=True)
    assert link.filled((Queue.URGENT,)) == [4]
    assert link.filled() == [3]


def test_what_was_seen_or_cleared_meanwhile_does_not_go():
    link = Link()
    seen, cleared = link.put("a", 1, 1), link.put("b", 2, 2)
    link.put("c", 3, 3)
    seen.seen = True
    link.outbox.clear(cleared)
    assert link.filled() == [3]


def test_what_no_datagram_takes_waits_for_the_stream_and_goes_back_when_it_shrinks():
    link = Link()
    link.put("large", "x" * ROOM, 1)
    link.put("small", 1, 2)
    assert (link.waiting.small, link.waiting.large) == (1, 1)
    assert link.waiting.stream_size() >= ROOM
    assert link.filled() == [1]
    link.put("large", "short", 3)
    assert link.filled() == ["short"]
    assert link.waiting.stream_size() == 0
    link.put("tight", "y" * 900, 4)
    assert link.filled(room=200) == []
    assert (link.waiting.small, link.waiting.large) == (0, 1), "not even alone"
    assert link.filled((Queue.STREAM,), room=2000) == ["y" * 900]
