"""State and journal of two nodes on one link that is too thin for both, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.sync.journal_world import World as JournalWorld
from tests.sync.test_thin_link import BURST, DELAY, REGISTER, TICK, ThinLink, flood
from tests.sync.world import key
from twingateway.sync.turns import Turns
from twingateway.twin.register import Section

ALARMS, HISTORY = 0, 1


class SharedLink(ThinLink):
    """As a QUIC link does it: datagrams are asked for first, then each stream in turn has what room is left."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.journal = JournalWorld()
        self.journal.connect()
        self.turns = Turns()
        self.streams: dict[int, deque[bytes]] = {ALARMS: deque(), HISTORY: deque()}
        self._batches: list[tuple[float, int, bytes]] = []

    def alarm(self, number: int) -> None:
        self.journal.edge.append("alarm", number)

    def filed(self, class_name: str = "alarm") -> int:
        return sum(entry.class_name == class_name for entry in self.journal.cloud.filed)

    def _send(self, name: str) -> None:
        if name == "cloud":
            super()._send(name)
            return
        self._fill_streams()
        session = self.world.edge.session
        self._credit[name] = min(self._credit[name] + self.rate * TICK, BURST)
        while self._credit[name] > 0:
            routine = self.turns.routine(alarms_wait=bool(self.streams[ALARMS]))
            frame = session.next_frame(1, 1100, self.now, routine=routine)
            if frame is None:
                break
            self._credit[name] -= len(frame)
            self._flying.append((self.now + DELAY, name, "state", frame))
        for channel, waiting in self.streams.items():
            if waiting and self._credit[name] > 0:
                message = waiting.popleft()
                self._credit[name] -= len(message)
                self._batches.append((self.now + DELAY, channel, message))
        while (message := session.next_control(1)) is not None:
            self._flying.append((self.now + DELAY, name, "control", message))

    def _fill_streams(self) -> None:
        journal, link = self.journal, self.journal.last_link
        for name in ("edge", "cloud"):
            session = getattr(journal, name).session
            while (answer := session.next_answer(link)) is not None:
                journal.links[link][name].append(answer)
            journal.deliver(link, name, 999)
        journal.edge.read_pages()
        while (batch := journal.edge.session.next_batch(link, alarms_only=True)) is not None:
            self.streams[ALARMS].append(batch[1])
        if not self.streams[HISTORY] and (batch := journal.edge.session.next_batch(link)) is not None:
            self.streams[batch[0]].append(batch[1])

    def _arrive(self) -> None:
        super()._arrive()
        while self._batches and self._batches[0][0] <= self.now:
            _, channel, message = self._batches.pop(0)
            cloud, link = self.journal.cloud, self.journal.last_link
            cloud.take(link, cloud.session.receive(link, channel, message))
        self.journal.cloud.commit(999)


def until(link: SharedLink, done: Callable[[], bool], say: Callable[[], None]) -> float:
    began = link.now
    while not done():
        link.run(TICK, say)
        assert link.now < began + 20
    return link.now - began


def test_an_alarm_goes_before_routine_reports_that_fill_the_link() -> None:
    link = SharedLink(rate=100 * REGISTER)
    say = flood(link)
    link.run(5, say)
    link.alarm(1)
    waited_for_the_frame_before = BURST / link.rate
    assert until(link, lambda: link.filed() == 1, say) < DELAY + waited_for_the_frame_before + 0.2


def test_an_alarm_goes_before_history_that_fills_the_link() -> None:
    link = SharedLink(rate=100 * REGISTER)
    for number in range(200):
        link.journal.edge.append("history", number, size=100)
    link.run(1)
    link.alarm(1)
    one_batch = 2 * 8 * 1024 / link.rate
    assert until(link, lambda: link.filed() == 1, lambda: None) < DELAY + one_batch
    assert link.filed("history") < 200


def test_alarms_without_end_leave_routine_reports_a_part_of_the_link() -> None:
    link = SharedLink(rate=200 * REGISTER)
    count = [0]

    def say() -> None:
        for _ in range(5):
            count[0] += 1
            link.alarm(count[0])

    link.run(3, say)
    link.report("calm", 7)
    assert link.until_seen(key("calm"), 7, say) < 8.0
    link.report("calm", 9, section=Section.ACK)
    assert link.until_seen(key("calm", section=Section.ACK), 9, say) < 8.0
