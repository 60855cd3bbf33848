"""Two sessions on a link that is too thin for what they have to say, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.sync.world import World, key, register
from twingateway.sync.quality import Quality
from twingateway.twin.register import RegisterKey, Section, StoredRegister

DELAY = 0.05
TICK = 0.002
#: Bytes that may leave at once.
BURST = 1200
#: About what one register takes of a frame.
REGISTER = 15
#: Registers that each change once a second.
CHANGES = 400


@dataclass
class ThinLink:
    """`rate`: bytes per second each way. Every tick `say` is called, what fits is sent, and what is due arrives."""

    rate: float
    loss: float = 0.0
    world: World = field(default_factory=lambda: World(datagrams=1100))
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    lsn: int = 1000
    roomy: bool = False
    """What the link says of itself."""

    def __post_init__(self) -> None:
        self.world.connect()
        self._flying: list[tuple[float, str, str, bytes]] = []
        self._credit = {"edge": 0.0, "cloud": 0.0}

    @property
    def now(self) -> float:
        return self.world.now

    @property
    def quality(self) -> Quality:
        return self.world.edge.session.quality(1)

    def report(self, device: str, value: int, name: str = "p", section: Section = Section.REPORTED) -> None:
        self.lsn += 1
        stored = StoredRegister(register(self.lsn, value, key(device, name, section)), self.lsn)
        self.world.edge.session.put(stored, urgent=section is not Section.REPORTED)

    def seen(self, of: RegisterKey) -> object:
        """The value that the cloud shows."""
        stored = self.world.cloud.shown.get(of)
        return None if stored is None else stored.register.value

    def run(self, seconds: float, say: Callable[[], None] = lambda: None) -> None:
        end = self.now + seconds
        while self.now < end:
            self.world.now += TICK
            say()
            for name, node in self.world.nodes.items():
                node.commit()
                self._send(name)
            self._arrive()

    def until_seen(self, of: RegisterKey, value: int, say: Callable[[], None]) -> float:
        """Seconds until the cloud shows it."""
        began = self.now
        while self.seen(of) != value:
            self.run(TICK, say)
            assert self.now < began + 60
        return self.now - began

    def _send(self, name: str) -> None:
        session = self.world.nodes[name].session
        self._credit[name] = min(self._credit[name] + self.rate * TICK, BURST)
        while (
            self._credit[name] > 0 and (frame := session.next_frame(1, 1100, self.now, roomy=self.roomy)) is not None
        ):
            self._credit[name] -= len(frame)
            if self.chance.random() >= self.loss:
                self._flying.append((self.now + DELAY, name, "state", frame))
        while (message := session.next_control(1)) is not None:
            self._flying.append((self.now + DELAY, name, "control", message))

    def _arrive(self) -> None:
        due = [packet for packet in self._flying if packet[0] <= self.now]
        self._flying = [packet for packet in self._flying if packet[0] > self.now]
        for _, name, kind, data in due:
            sender = self.world.nodes[name]
            receiver = self.world.other(sender)
            receive = receiver.session.receive_state if kind == "state" else receiver.session.receive_control
            receiver.take(1, receive(1, data, self.now), self.now, sender)


def flood(link: ThinLink, registers: int = 500) -> Callable[[], None]:
    """One device whose registers all change faster than the link can tell."""
    turn = [0]

    def say() -> None:
        for _ in range(4):
            turn[0] += 1
            link.report("flood", turn[0], f"p{turn[0] % registers}")

    return say


def test_a_device_that_floods_a_thin_link_delays_itself_and_not_the_others():
    link = ThinLink(rate=100 * REGISTER)
    say = flood(link)
    link.run(5, say)
    link.report("calm", 7)
    assert link.until_seen(key("calm"), 7, say) < 1.0


def test_each_device_has_its_part_of_a_thin_link():
    link = ThinLink(rate=200 * REGISTER)
    busy, counts = flood(link), [0]

    def say() -> None:
        busy()
        counts[0] += 1
        for index in range(10):
            link.report("other", counts[0], f"q{index}")

    link.run(8, say)
    newest = [link.seen(key("other", f"q{index}")) for index in range(10)]
    assert min(newest) > counts[0] - 0.6 / TICK


def test_what_is_urgent_goes_before_routine_reports():
    link = ThinLink(rate=100 * REGISTER)
    say = flood(link)
    link.run(5, say)
    link.report("calm", 7, section=Section.ACK)
    waited_for_the_frame_before = BURST / link.rate
    assert link.until_seen(key("calm", section=Section.ACK), 7, say) < DELAY + waited_for_the_frame_before + 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_copies_are_what_a_full_link_goes_without(seed):
    def redundancy(rate: float) -> tuple[float, float]:
        link, count = ThinLink(rate=rate, loss=0.1, chance=random.Random(seed)), 0
        began = link.now

        def say() -> None:
            nonlocal count
            while count < (link.now - began) * CHANGES:
                count += 1
                link.report(f"d{count % CHANGES}", count)

        link.run(4, say)
        behind = sorted(count - link.seen(key(f"d{index}")) for index in range(CHANGES))
        assert link.quality.copies >= 3
        return link.quality.redundancy, behind[CHANGES * 9 // 10] / CHANGES

    with_room, _ = redundancy(100 * CHANGES * REGISTER)
    without, behind = redundancy(1.1 * CHANGES * REGISTER)
    assert with_room > 2.5
    assert without < 1.4
    assert behind < 1.2  # each changes once a second: nothing but the newest is on its way


def lateness(link: ThinLink, seconds: float = 6.0) -> tuple[float, float]:
    """How late the cloud sees one in a hundred of the changes; frames a second that it takes."""
    pending: dict[RegisterKey, tuple[int, float]] = {}
    late: list[float] = []
    count = 0

    def say() -> None:
        nonlocal count
        for of, (value, at) in list(pending.items()):
            if link.seen(of) == value:
                late.append(link.now - at)
                del pending[of]
        count += 1
        of = key(f"d{count % CHANGES}")
        if of not in pending:
            link.report(of.device.name, count)
            pending[of] = count, link.now

    link.run(2, say)  # until it knows what it loses
    late.clear()
    frames = link.quality.frames_sent
    link.run(seconds, say)
    return sorted(late)[len(late) * 99 // 100] - DELAY, (link.quality.frames_sent - frames) / seconds


def test_on_a_lossy_link_with_room_copies_follow_sooner():
    """One change in a hundred waits for its frame, and for two more copies, since two get lost."""
    late, _ = lateness(ThinLink(rate=1e6, loss=0.2))
    sooner, _ = lateness(ThinLink(rate=1e6, loss=0.2, roomy=True))
    assert sooner <= 3 * 0.002 + TICK < late


def test_room_alone_is_no_reason_for_more_frames():
    _, frames = lateness(ThinLink(rate=1e6, roomy=True), 4)
    assert frames <= 255
