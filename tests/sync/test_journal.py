"""The journal between two stores: exactly once, in order, gaps accounted, whatever happens on the way."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.sync.journal_world import CLASSES, World
from twingateway.errors import ProtocolViolation
from twingateway.ports.journal import TOLD_JOURNALS, Filing
from twingateway.ports.memory_journal import MemoryJournal
from twingateway.sync.cbor import encode
from twingateway.sync.journal import MAX_UNCOMMITTED, EntriesReceived, JournalSession
from twingateway.sync.journal_sender import WINDOW, ClassSender, Track, Waiting
from twingateway.sync.journal_wire import Batch, Resume, decode_message, encode_resume
from twingateway.twin.entry import LOST, JournalEntry

few = st.integers(1, 4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(CLASSES), few),
        st.tuples(st.sampled_from(["append", "append large"]), st.just("history"), few),
        st.tuples(st.just("send"), few),
        st.tuples(st.just("deliver"), st.sampled_from(["edge", "cloud"]), st.integers(1, 12)),
        st.tuples(st.just("deliver old"), st.sampled_from(["edge", "cloud"]), st.integers(1, 12)),
        st.tuples(st.just("commit"), few, st.booleans()),
        st.tuples(st.just("evict"), st.just("history"), st.integers(0, 3000)),
        st.tuples(st.just("expire"), st.sampled_from(CLASSES)),
        st.tuples(st.sampled_from(["reconnect", "connect", "disconnect", "disconnect newest", "step"])),
        st.tuples(st.just("restart"), st.sampled_from(["edge", "cloud"])),
        st.tuples(st.sampled_from(["ask", "back up", "restore", "restore cloud"])),
    ),
    min_size=10,
    max_size=80,
)


def _seqs(entries):
    return {(e.journal_id, e.class_name, seq) for e in entries for seq in range(e.seq, e.last + 1)}


#: A receiver commits what it has of a store that was put back meanwhile.
LATE = [
    ("back up",),
    ("append", "alarm", 3),
    ("send", 1),
    ("deliver", "edge", 4),
    ("restore",),
    ("append", "alarm", 1),
    ("connect",),
    ("commit", 1, False),
]


#: What was told and acknowledged is not in the copy of the receiver that is put back, and nothing follows.
LOST_BY_THE_RECEIVER = [
    ("back up",),
    ("append", "alarm", 2),
    ("send", 1),
    ("deliver", "edge", 4),
    ("commit", 1, True),
    ("send", 1),
    ("deliver", "cloud", 4),
    ("restore cloud",),
]


class Player:
    """Plays a history of mishaps, from a link that is ready on."""

    def __init__(self):
        self.world = World()
        self.reconnect()
        self.value = 0
        self.backup = None

    def play(self, history):
        for word, *arguments in history:
            getattr(self, word.replace(" ", "_"))(*arguments)
            self.world.check(complete=False)

    def append(self, class_name, count, size=0):
        for _ in range(count):
            self.value += 1
            self.world.edge.append(class_name, self.value, size, stamp=self.value)

    def append_large(self, class_name, count):
        self.append(class_name, count, 20_000)

    def connect(self):
        self.world.connect()

    def reconnect(self):
        """A new link, and both have said where they are."""
        self.world.connect()
        for name in ("edge", "cloud"):
            self.world.send(0)
            self.world.deliver(max(self.world.links), name, len(CLASSES))

    def disconnect(self, which=min):
        if self.world.links:
            self.world.disconnect(which(self.world.links))

    def disconnect_newest(self):
        self.disconnect(max)

    def step(self):
        self.world.step()

    def ask(self):
        self.world.edge.ask()

    def send(self, batches):
        self.world.edge.read_pages()
        self.world.edge.read_pages()
        self.world.send(batches)

    def deliver(self, name, count, which=max):
        if self.world.links:
            self.world.deliver(which(self.world.links), name, count)

    def deliver_old(self, name, count):
        self.deliver(name, count, min)

    def commit(self, count, acknowledge):
        self.world.cloud.commit(count, acknowledge)
        if not acknowledge:  # it died in between
            self.world.restart("cloud")

    def restart(self, name):
        if self.world.edge.boots < TOLD_JOURNALS:  # of older journals it reminds nobody
            self.world.restart(name)
            self.reconnect()

    def evict(self, class_name, max_bytes):
        self.world.edge.disk.evict(class_name, max_bytes, 0)

    def expire(self, class_name):
        self.world.edge.disk.evict(class_name, 1 << 40, self.value - 3)

    def back_up(self):
        self.backup = self.world.backup()

    def restore(self):
        if self.backup is None:
            return
        world = self.world
        world.restart("edge")
        world.edge.disk = self.backup[0]
        known = dict(world.edge.disk.cursors)
        filed, truth = _seqs(world.cloud.filed), world.edge.truth
        # What was written after the backup and never arrived is gone with the disk.
        world.edge.truth = {
            key: value
            for key, value in truth.items()
            if key in filed or known.get(("default", key[0], key[1]), 0) >= key[2]
        }
        received = _seqs(entry for _, event in world.cloud.received for entry in event.entries)
        world.edge.doubtful |= {key: truth[key] for key in received & (truth.keys() - world.edge.truth.keys())}
        self.backup = None

    def restore_cloud(self):
        if self.backup is None:
            return
        self.world.restart("cloud")
        self.world.cloud.restored = True
        _, self.world.cloud.disk, self.world.cloud.filed = self.backup
        self.backup = None


@settings(max_examples=200, deadline=None)
@given(steps)
@example(LATE)
@example(LOST_BY_THE_RECEIVER)
def test_whatever_happens_each_entry_arrives_once_and_in_order(history):
    player = Player()
    player.play(history)
    player.world.calm()
    player.world.check()


def test_a_long_queue_never_stands_in_memory():
    world = World()
    for value in range(20_000):
        world.edge.append("history", value, 30)
    world.connect()
    sender = world.edge.session._senders["history"]
    most = 0
    for _ in range(40):
        world.edge.read_pages()
        world.send()
        for name in ("edge", "cloud"):
            world.deliver(1, name, 999)
        most = max(most, sender.in_flight)
        assert len(sender._buffer) < 2_000
    assert WINDOW <= most < WINDOW + 20_000, "the window is filled and kept"
    world.calm()
    world.check()
    assert len(world.cloud.filed) == 20_000


def test_when_the_newest_link_fails_the_older_one_goes_on():
    world = World()
    world.connect()
    for value in range(3):
        world.edge.append("history", value)
        world.step()
    world.connect()
    world.edge.append("history", 3)
    world.send()
    world.disconnect(2)
    for _ in range(4):
        world.step()
    world.check()


def test_the_first_class_goes_first():
    world = World()
    for value in range(2_000):
        world.edge.append("history", value)
    world.edge.append("alarm", 5_000)
    world.connect()
    world.send()
    world.deliver(1, "edge", 9)
    world.send()
    world.deliver(1, "cloud", 9)
    world.edge.read_pages()
    channel, _ = world.edge.session.next_batch(1)
    assert channel == 0


def test_what_the_peer_has_is_not_sent_again_on_the_next_link():
    world = World()
    for value in range(50):
        world.edge.append("history", value, 1_000)
    world.connect()
    for _ in range(3):
        world.edge.read_pages()
        world.send()
        world.deliver(1, "edge", 9)
        world.deliver(1, "cloud", 9)
    world.cloud.commit(99)  # the acknowledgement is lost with the link
    assert len(world.cloud.filed) == 50
    world.disconnect(1)
    world.connect()
    for _ in range(6):
        world.edge.read_pages()
        world.send()
        sent = [decode_message(message) for _, message in world.links[2]["edge"]]
        runs = [run for message in sent if isinstance(message, Batch) for run in message.runs]
        assert all(run.items == ((-50, 0, "lost"),) for run in runs), "but in one record, as what was told before"
        world.deliver(2, "edge", 9)
        world.deliver(2, "cloud", 9)
    assert world.edge.disk.depths()[0].entries == 0, "and it is deleted"


def test_a_receiver_that_was_put_back_learns_at_once_what_it_lacks():
    world = World()
    for class_name in CLASSES:
        world.edge.append(class_name, 1)
    world.calm()
    _, disk, filed = world.backup()
    world.edge.append("alarm", 2)
    world.calm()
    world.restart("edge")
    for value in (3, 4):
        world.edge.append("alarm", value)
    world.calm()
    world.restart("cloud")
    world.cloud.disk, world.cloud.filed, world.cloud.restored = disk, filed, True
    for _ in range(3):  # which changes nothing from the second time on
        world.calm()
        gaps = {(e.class_name, e.journal_id, e.seq, e.last) for e in world.cloud.filed if e.gap == LOST}
        assert gaps == {("alarm", b"journal-1", 2, 2), ("alarm", b"journal-2", 1, 2)}
        world.check()
        world.restart("cloud")


def test_of_journals_that_began_long_ago_nobody_is_reminded():
    world = World()
    for value in range(TOLD_JOURNALS + 1):
        world.edge.append("alarm", value)
        world.calm()
        world.restart("edge")
    world.cloud.disk, world.cloud.filed, world.cloud.restored = MemoryJournal(), [], True
    world.calm()
    lost = {entry.journal_id for entry in world.cloud.filed if entry.gap == LOST}
    assert lost == {f"journal-{number + 1}".encode() for number in range(1, TOLD_JOURNALS + 1)}


def test_a_peer_is_reminded_once_in_its_life():
    world = World()
    world.edge.append("alarm", 1)
    world.calm()
    world.disconnect(1)
    world.connect()
    said = []
    for _ in range(6):
        world.edge.read_pages()
        world.send()
        said += [decode_message(message) for _, message in world.links[2]["edge"]]
        world.deliver(2, "edge", 9)
        world.deliver(2, "cloud", 9)
    assert said
    assert all(isinstance(message, Resume) for message in said)


def test_a_reminder_that_was_lost_with_its_link_comes_again():
    world = World()
    world.edge.append("alarm", 1)
    world.calm()
    world.restart("cloud")
    world.cloud.disk, world.cloud.filed, world.cloud.restored = MemoryJournal(), [], True
    world.connect()
    for _ in range(4):
        world.edge.read_pages()
        world.send()
        world.deliver(max(world.links), "edge", 9)
        world.deliver(max(world.links), "cloud", 9)
    assert world.cloud.received
    world.cloud.received = []
    world.disconnect(max(world.links))
    world.calm()
    assert [(entry.seq, entry.gap) for entry in world.cloud.filed] == [(1, LOST)]


def met(world, class_name, journals):
    """The edge has told so many journals from below, to a cloud that has none of them."""
    for number in range(journals):
        entry = JournalEntry(class_name, "default", f"sensor-{number}", None, "n", 1, 1, f"of {number}".encode(), 1)
        world.edge.disk.receive([Filing(entry, 1, True, False)])
    world.edge.disk.delivered({class_name: journals})
    world.cloud.restored = True


def test_more_journals_than_one_page_holds_are_all_told_of_behind_the_queue():
    world = World()
    met(world, "history", 1_000)
    world.edge.append("history", 1)
    world.calm()
    assert [entry.gap for entry in world.cloud.filed] == ["", *[LOST] * 1_000]


def test_an_alarm_waits_for_no_reminders_and_these_are_no_alarms():
    world = World()
    met(world, "alarm", 1_000)
    world.connect()
    for _ in range(2):
        world.send(0)
        world.deliver(1, "edge", 9)
        world.deliver(1, "cloud", 9)
    session = world.edge.session
    for _ in range(3):
        world.edge.read_pages()
    assert session.has_batch
    assert session.next_batch(1, alarms_only=True) is None
    world.edge.append("alarm", 1)
    world.edge.read_pages()
    sizes = []
    while (batch := session.next_batch(1)) is not None:
        sizes.append([len(run.items) for run in decode_message(batch[1]).runs])
        world.edge.read_pages()
    assert sizes == [[1], [1] * 100], "the alarm, then so many reminders as may go before they are acknowledged"


def test_a_queue_without_end_delays_reminders_and_does_not_stop_them():
    """Of the journals of two pages; all of the queue arrives once and in order nevertheless."""
    world = World()
    met(world, "history", 150)
    world.connect()
    value = 0
    for _ in range(60):
        for _ in range(8):
            value += 1
            world.edge.append("history", value, size=4_000)
        world.edge.read_pages()
        world.send()
        world.deliver(1, "edge", 99)
        world.cloud.commit(99)
        world.deliver(1, "cloud", 99)
    assert world.edge.disk.depths()[0].entries > 0, "there was always more"
    assert len([entry for entry in world.cloud.filed if entry.gap == LOST]) == 150
    world.calm()
    assert [entry.time for entry in world.cloud.filed if not entry.gap] == list(range(1, value + 1))


def test_alarms_without_end_make_way_for_reminders_now_and_then():
    world = World()
    met(world, "alarm", 1)
    world.connect()
    for _ in range(2):
        world.send(0)
        world.deliver(1, "edge", 9)
        world.deliver(1, "cloud", 9)
    for value in range(100):
        world.edge.append("alarm", value, size=4_000)
    said = []
    for _ in range(20):
        world.edge.read_pages()
        if (batch := world.edge.session.next_batch(1, alarms_only=True)) is not None:
            said.append([item for run in decode_message(batch[1]).runs for item in run.items])
    reminded = [number for number, items in enumerate(said) if items == [(-1, 0, "lost")]]
    assert len(reminded) == 1
    assert 0 < reminded[0] < len(said) - 1


def test_a_gap_that_covers_what_the_peer_has_and_more_is_sent_again():
    world = World()
    world.connect()
    for value in range(3):
        world.edge.append("history", value)
    for _ in range(3):
        world.edge.read_pages()
        world.send()
        world.deliver(1, "edge", 9)
        world.deliver(1, "cloud", 9)
    world.cloud.commit(9)  # and the acknowledgement is lost
    world.edge.append("history", 3)
    assert world.edge.disk.evict("history", 1 << 30, 1) == 4
    world.disconnect(1)
    world.calm()
    world.check()
    assert [(entry.seq, entry.last) for entry in world.cloud.filed] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def passed_on(world, seq, value):
    """An entry from below the edge is queued there."""
    entry = JournalEntry("history", "default", "sensor", None, "n", value, value, b"sensor's", seq)
    world.edge.disk.receive([Filing(entry, value, True, False)])
    world.edge.session.appended("history")


def told(world, value):
    return value in [entry.time for entry in world.cloud.filed if not entry.gap]


def test_what_the_peer_had_from_a_store_that_is_gone_says_nothing_of_the_new_queue():
    world = World()
    passed_on(world, 1, 1)
    world.calm()
    world.restart("edge")
    world.edge.disk = MemoryJournal()
    world.edge.append("history", 2)
    passed_on(world, 2, 3)  # before it stands a gap for what this store misses, and the peer has
    world.calm()
    assert told(world, 2)
    assert told(world, 3)


def test_what_stands_before_a_grown_gap_is_sent_though_the_peer_has_a_part_of_the_gap():
    world = World()
    world.connect()
    world.edge.append("history", 1)
    for _ in range(3):
        world.edge.read_pages()
        world.send()
        world.deliver(1, "edge", 9)
        world.deliver(1, "cloud", 9)
    world.cloud.commit(9)  # and the acknowledgement is lost
    world.disconnect(1)
    passed_on(world, 1, 2)
    world.edge.append("history", 3)
    assert world.edge.disk.evict("history", 1 << 30, 4) == 3
    world.calm()
    assert [(entry.journal_id, entry.last) for entry in world.cloud.filed] == [
        (b"journal-1", 1), (b"sensor's", 1), (b"journal-1", 2),
    ]  # fmt: skip


def test_entries_take_a_few_bytes_each_once_their_names_are_told():
    world = World()
    world.connect()
    world.step()
    world.step()
    for value in range(500):
        world.edge.append("history", value)
    world.edge.read_pages()
    size = 0
    while (batch := world.edge.session.next_batch(1)) is not None:
        size += len(batch[1])
    assert size / 500 < 12


def entry_batch(number=1, names=(0, None, "n"), run=(b"j", "edge", 1, 5, 0, 0, 1.5)):
    return encode([1, number, list(names) if names else None, list(run)])


def session_with_channel():
    session = JournalSession(CLASSES, "default", sends=False, journal_id=b"cloud")
    session.attach(1, opens=False)
    session.receive(1, 0, encode_resume(Resume("alarm", None)))
    return session


def test_a_batch_as_the_protocol_writes_it():
    (event,) = session_with_channel().receive(1, 0, entry_batch())
    assert isinstance(event, EntriesReceived)
    (entry,) = event.entries
    assert (entry.class_name, entry.namespace, entry.node, entry.device, entry.name) == (
        "alarm", "default", "edge", None, "n",
    )  # fmt: skip
    assert (entry.journal_id, entry.seq, entry.time, entry.value) == (b"j", 1, 5, 1.5)


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\xff", encode({}), encode([]), encode([7]), encode([True, 1]), encode([[], 1]),
        encode([0, "alarm", b"", 5]), encode([0, "", b"", 0]), encode([0, "alarm", b"", 0]), encode([2, 0]),
        encode([2, 1]), encode([1, 1, None]), entry_batch(number=2), entry_batch(names=(1, None, "n")),
        entry_batch(names=(0, None)), entry_batch(names=(0,)), entry_batch(names=None),
        entry_batch(run=(b"j", "edge", 1, 5)),
        entry_batch(run=(b"", "edge", 1, 5, 0, 0, 1)), entry_batch(run=(b"j", "edge", 0, 5, 0, 0, 1)),
        entry_batch(run=(b"j", "edge", 1, 5, 1, 0, 1)), entry_batch(run=(b"j", "edge", 1, 5, 0, 0, float("nan"))),
        entry_batch(run=(b"j", "edge", 1, 5, -2, 0, "")), entry_batch(run=(b"j", "edge", 2**63 - 1, 5, -2, 0, "x")),
        entry_batch(run=(b"j", "edge", 1, 5, 0, 0)), b"\x00" * 300_000,
    ],
)  # fmt: skip
def test_nonsense_is_a_violation(message):
    with pytest.raises(ProtocolViolation):
        session_with_channel().receive(1, 0, message)


def test_a_stream_begins_with_resume_and_has_one_class():
    session = session_with_channel()
    for channel, message in [
        (1, entry_batch()),
        (1, encode_resume(Resume("alarm", None))),
        (9, b"\x83\x00\x61a\x40\x00"),
    ]:
        with pytest.raises(ProtocolViolation):
            session.receive(1, channel, message)


def test_a_peer_that_ignores_the_window_is_cut_off():
    session = session_with_channel()

    def send(number):
        names = (0, None, "n") if number == 1 else None
        session.receive(1, 0, entry_batch(number, names, (b"j", "edge", number, 5, 0, 0, "x" * 60_000)))

    allowed = MAX_UNCOMMITTED // 60_000 + 1
    for number in range(1, allowed + 1):
        send(number)
    with pytest.raises(ProtocolViolation, match="window"):
        send(allowed + 1)


def test_a_page_that_could_not_be_read_is_wanted_again():
    sender = ClassSender(b"journal")
    sender.start(Track(), None)
    assert sender.wants == 0
    sender.asked()
    assert sender.wants is None
    sender.failed()
    assert sender.wants == 0


def test_what_is_appended_while_the_last_page_is_read_is_not_forgotten():
    sender = ClassSender(b"journal")
    sender.start(Track(), None)
    sender.asked()
    sender.appended()
    sender.page(0, [])
    assert sender.wants == 0
    sender.asked()
    sender.page(0, [])
    assert sender.wants is None


def test_a_page_asked_for_on_a_link_that_is_gone_is_not_taken():
    world = World()
    for value in range(3):
        world.edge.append("history", value)
    first, second, third = (
        Waiting(placed.position, placed.entry) for placed in world.edge.disk.page("history", 0, 1 << 20)
    )
    sender = ClassSender(b"journal")
    sender.start(Track(), None)
    sender.asked()
    sender.page(0, [first, second])
    assert sender.wants == second.position
    sender.asked()
    sender.stop()
    sender.start(Track(), None)
    sender.page(second.position, [third])
    assert (sender.wants, sender.next_batch()) == (0, None)
