"""Two journal sessions over stores in memory and links that break at any message."""

from copy import deepcopy

from twingateway.ports.journal import OWN, Filing
from twingateway.ports.memory_journal import MemoryJournal
from twingateway.sync.journal import EntriesDelivered, EntriesReceived, JournalSession
from twingateway.sync.journal_sender import PAGE, Waiting
from twingateway.twin.entry import LOST, JournalEntry

CLASSES = ("alarm", "history")


class Edge:
    """A store with a queue; its process may die, its disk may be put back."""

    def __init__(self):
        self.disk = MemoryJournal()
        self.boots = 0
        self.truth = {}  # (journal id, class, seq) → value, of everything that was ever durable here
        self.doubtful = {}  # of what went with the disk, while the receiver had it and had not committed it
        self.start()

    def start(self):
        self.boots += 1
        self.journal_id = f"journal-{self.boots}".encode()
        self.session = JournalSession(CLASSES, "default", sends=True, journal_id=self.journal_id)
        self.asked = []

    def append(self, class_name, value, size=0, stamp=0):
        entry = JournalEntry(class_name, "default", "edge", "pump", f"p{value % 3}", value, [value, "x" * size])
        self.disk.begin([Filing(entry, stamp, True, False)], self.journal_id)
        seq = self.disk.cursors["default", self.journal_id, class_name]
        self.truth[self.journal_id, class_name, seq] = value
        self.session.appended(class_name)

    def ask(self):
        self.asked += self.session.wants()

    def read_pages(self):
        """Answer what was asked, also on a link that is gone by now, and what is asked now."""
        self.ask()
        for class_name, after in self.asked:
            page = self.disk.page(class_name, after, PAGE)
            self.take(self.session.page(class_name, after, [Waiting(p.position, p.entry) for p in page]))
        self.asked = []
        for class_name, behind in list(self.session.reminds()):
            self.session.remind(class_name, behind, list(self.told(class_name, behind)))

    def told(self, class_name, behind):
        for told in self.disk.told("default", class_name, behind, 100):
            node = "edge" if told.node == OWN else told.node
            yield JournalEntry(
                class_name, "default", node, None, "", 0, None, told.journal_id, 1, told.last, LOST
            )  # fmt: skip

    def take(self, events):
        for event in events:
            assert isinstance(event, EntriesDelivered)
            self.disk.delivered({event.class_name: event.position})


class Cloud:
    """The receiving store: what it filed, in order."""

    def __init__(self):
        self.disk = MemoryJournal()
        self.filed = []
        self.restored = False
        self.start()

    def start(self):
        self.session = JournalSession(CLASSES, "default", sends=False, journal_id=b"cloud")
        self.received = []

    def commit(self, count, acknowledge=True):
        batch, self.received = self.received[:count], self.received[count:]
        for link, event in batch:
            filings = [Filing(entry, 0, False, True) for entry in event.entries]
            self.filed += self.disk.receive(filings)
            if acknowledge:
                self.session.committed(link, event)

    def take(self, link, events):
        for event in events:
            assert isinstance(event, EntriesReceived)
            self.received.append((link, event))


class World:
    def __init__(self):
        self.edge, self.cloud = Edge(), Cloud()
        self.links = {}
        self.last_link = 0

    def connect(self):
        self.last_link += 1
        self.links[self.last_link] = {"edge": [], "cloud": []}
        self.edge.session.attach(self.last_link, opens=True)
        self.cloud.session.attach(self.last_link, opens=False)

    def disconnect(self, link):
        del self.links[link]
        self.edge.session.detach(link)
        self.cloud.session.detach(link)

    def restart(self, name):
        for link in list(self.links):
            self.disconnect(link)
        getattr(self, name).start()

    def send(self, batches=99):
        """Take onto the links what both have to say."""
        for link, wire in self.links.items():
            for name in wire:
                session = getattr(self, name).session
                while (answer := session.next_answer(link)) is not None:
                    wire[name].append(answer)
            for _ in range(batches):
                batch = self.edge.session.next_batch(link)
                if batch is None:
                    break
                wire["edge"].append(batch)

    def deliver(self, link, name, count):
        """The first messages arrive, in order."""
        wire = self.links[link]
        arriving, wire[name] = wire[name][:count], wire[name][count:]
        for channel, message in arriving:
            if name == "edge":
                self.cloud.take(link, self.cloud.session.receive(link, channel, message))
            else:
                self.edge.take(self.edge.session.receive(link, channel, message))

    def step(self):
        self.edge.read_pages()
        self.send()
        for link in list(self.links):
            for name in ("edge", "cloud"):
                self.deliver(link, name, 999)
        self.cloud.commit(999)

    def calm(self):
        """Good weather until the queues are empty and the cloud was reminded of what it was told before."""
        self.connect()
        for steps in range(200):
            self.step()
            if steps > 3 and self.quiet and not any(depth.entries for depth in self.edge.disk.depths()):
                return
        raise AssertionError("the queues do not empty")

    @property
    def quiet(self):
        """Whether nothing is on its way."""
        under_way = [message for wire in self.links.values() for way in wire.values() for message in way]
        under_way += [name for name in CLASSES if self.edge.session.in_flight(name)]
        return not (self.edge.session.hungry or self.cloud.received or under_way)

    def check(self, complete=True):
        """Exactly once, in order per journal and class, every seq told or in a gap."""
        seen, known = {}, dict(self.edge.truth)
        for entry in self.cloud.filed:
            for seq in range(entry.seq, entry.last + 1):
                key = entry.journal_id, entry.class_name, seq
                if key in self.edge.doubtful:
                    known[key] = self.edge.doubtful[key]
            key = (entry.journal_id, entry.class_name)
            assert entry.seq == seen.get(key, 0) + 1, "each once, in order, nothing missing without a gap"
            seen[key] = entry.last
            assert entry.gap != LOST or self.cloud.restored, "only a store that was put back misses anything"
            if not entry.gap:
                value = known[*key, entry.seq]
                assert (entry.time, entry.value[0], entry.name) == (value, value, f"p{value % 3}")
        if complete:
            last = {}
            for journal_id, class_name, seq in known:
                last[journal_id, class_name] = max(seq, last.get((journal_id, class_name), 0))
            assert seen == last

    def backup(self):
        return deepcopy(self.edge.disk), deepcopy(self.cloud.disk), list(self.cloud.filed)
