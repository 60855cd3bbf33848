"""What of the journal may leave while other things wait on the same link."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sync.journal_world import World
from twingateway.gateway.peering.journal_lane import BACKLOG, JournalLane
from twingateway.mqtt.lanes import JOURNAL_TOPICS
from twingateway.mqtt.streams import JOURNAL_STREAMS, STATE_STREAM
from twingateway.ports.link import LinkFacts

ALARMS, HISTORY = JOURNAL_TOPICS[0], JOURNAL_TOPICS[1]


@dataclass
class FullLink:
    """Takes what it is given and delivers nothing of it for now."""

    datagram_room: int = 1170
    queued: dict[int, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def facts(self) -> LinkFacts:
        return LinkFacts("quic", "peer", congestion_window=12_000)

    def unsent(self, stream: int) -> int:
        return self.queued.get(stream, 0)

    def waiting(self, stream: int) -> int:
        return 0 if stream in self.left else self.unsent(stream)

    def wake(self, at: float | None = None) -> None: ...

    def publish(self, topic: str, payload: bytes, stream: int = 0) -> None:
        self.sent.append((topic, payload))
        self.queued[stream] = self.queued.get(stream, 0) + len(payload)


@pytest.fixture
def lane() -> Any:
    """An edge's lane on a full link to a cloud that is ready, the two sessions, and the link."""
    world, link = World(), FullLink()
    peer = SimpleNamespace(journal=world.edge.session)
    events = SimpleNamespace(hungry=lambda: None, handle=lambda *_: None)
    made = JournalLane(peer, 1, link, link, events, opens=True)  # type: ignore[arg-type]
    world.cloud.session.attach(1, opens=False)
    made.pump(0.0)
    for topic, message in link.sent:
        world.cloud.session.receive(1, JOURNAL_TOPICS.index(topic), message)
    while (answer := world.cloud.session.next_answer(1)) is not None:
        made.receive(JOURNAL_TOPICS[answer[0]], answer[1])
    link.sent.clear()
    link.queued.clear()
    return SimpleNamespace(world=world, link=link, lane=made)


def test_an_alarm_is_handed_over_although_history_and_state_wait(lane) -> None:
    for number in range(400):
        lane.world.edge.append("history", number, size=200)
    lane.world.edge.read_pages()
    lane.lane.pump(1.0)
    waiting = lane.link.unsent(JOURNAL_STREAMS[1])
    assert waiting >= BACKLOG
    lane.link.queued[STATE_STREAM] = 100_000
    lane.world.edge.append("alarm", 1)
    lane.world.edge.read_pages()
    lane.lane.pump(1.0)
    assert lane.link.sent[-1][0] == ALARMS
    assert lane.link.unsent(JOURNAL_STREAMS[1]) == waiting, "history goes on waiting"


def test_reports_make_way_until_the_alarm_has_left_and_not_until_it_is_acknowledged(lane) -> None:
    assert all(lane.lane.may_report(1.0) for _ in range(8))
    lane.world.edge.append("alarm", 1)
    lane.world.edge.read_pages()
    lane.lane.pump(1.0)
    assert [lane.lane.may_report(1.0) for _ in range(8)] == [False, False, False, True] * 2
    lane.link.left.add(JOURNAL_STREAMS[0])
    assert all(lane.lane.may_report(1.0) for _ in range(8))
