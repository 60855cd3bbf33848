"""The plan of what to dial, with a hand-driven clock: no sockets, no sleeping."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twingateway.gateway.peering import route
from twingateway.gateway.peering.route import Attempt, Dial, Drop, Route, Way

QUIC, TLS = Way(0, 0), Way(0, 1)
QUIC2, TLS2 = Way(1, 0), Way(1, 1)


class Drive:
    """Runs a plan through time and notes what it wants."""

    def __init__(self, *transports: int, chance: Callable[[], float] = lambda: 1.0) -> None:
        self.route = Route(transports or (2,), chance)
        self.now = 0.0
        self.log: list[tuple[float, str, Way]] = []
        self.attempts: dict[Way, Attempt] = {}
        self.poll()

    def poll(self) -> None:
        for action in self.route.poll(self.now):
            way = action.attempt.way
            self.log.append((round(self.now, 3), {Dial: "dial", Drop: "drop"}[type(action)], way))
            if isinstance(action, Dial):
                self.attempts[way] = action.attempt
            elif action.attempt in self.route._open:
                self.route.closed(action.attempt, self.now)

    def until(self, time: float) -> None:
        """Let the clock run, stopping at each deadline."""
        while (due := self.route.next_deadline()) is not None and due <= time:
            self.now = max(self.now, due)
            self.poll()
            again = self.route.next_deadline()
            assert again is None or again > self.now, "a deadline that never passes"
        self.now = time

    def open(self, way: Way) -> Attempt:
        attempt = self.attempts[way]
        self.route.opened(attempt, self.now)
        self.route.settled(attempt, self.now)
        self.poll()
        return attempt

    def fail(self, way: Way, *, answered: bool = False) -> None:
        self.route.failed(self.attempts[way], self.now, answered=answered)
        self.poll()

    def take(self) -> list[tuple[float, str, Way]]:
        log, self.log = self.log, []
        return log


def test_quic_alone_is_dialled_when_it_answers() -> None:
    drive = Drive(2)
    drive.until(0.2)
    drive.open(QUIC)
    drive.until(1000)
    assert drive.take() == [(0, "dial", QUIC)]


def test_tls_is_dialled_beside_quic_after_a_while_and_quic_is_given_its_time() -> None:
    drive = Drive(2)
    drive.until(2)
    drive.open(TLS)
    assert drive.take() == [(0, "dial", QUIC), (route.FALLBACK_AFTER, "dial", TLS)]
    drive.until(4)
    assert drive.route.current == drive.attempts[TLS]
    drive.open(QUIC)
    assert drive.route.current == drive.attempts[QUIC]
    drive.until(6)
    assert drive.take() == [(5, "drop", TLS)], "after the new one proved itself, and not at once"


def test_tls_is_dialled_at_once_when_quic_fails() -> None:
    drive = Drive(2)
    drive.until(0.3)
    drive.fail(QUIC)
    assert drive.take() == [(0, "dial", QUIC), (0.3, "dial", TLS)]


def test_a_parent_that_says_no_is_not_asked_over_tls_as_well() -> None:
    drive = Drive(2, 2)
    drive.until(0.3)
    drive.fail(QUIC, answered=True)
    assert drive.take() == [(0, "dial", QUIC), (0.3, "dial", QUIC2)]


def test_what_quic_overtakes_is_dropped() -> None:
    drive = Drive(2)
    drive.until(2)
    drive.open(QUIC)
    assert drive.take()[-1] == (2, "drop", TLS)
    drive.route.opened(drive.attempts[TLS], 2.1)
    drive.until(3)
    assert drive.route.current == drive.attempts[QUIC], "one that comes in all the same changes nothing"


def test_parents_in_order_and_back_to_the_first() -> None:
    drive = Drive(2, 2)
    drive.fail(QUIC)
    drive.until(0.5)
    drive.fail(TLS)
    drive.until(0.6)
    drive.open(QUIC2)
    assert [way for _, _, way in drive.take()] == [QUIC, TLS, QUIC2]
    drive.until(29)
    assert drive.take() == []
    drive.until(31)
    assert drive.take() == [(30.6, "dial", QUIC)]
    drive.open(QUIC)
    drive.until(33)
    assert drive.take() == [(32.0, "drop", QUIC2)]


def test_a_parent_that_says_nothing_holds_up_the_next_one_for_five_seconds() -> None:
    drive = Drive(1, 1)
    drive.until(6)
    assert drive.take() == [(0, "dial", Way(0, 0)), (5, "dial", Way(1, 0))]


def test_a_dial_that_nobody_answered_is_followed_at_once_whatever_the_other_way_does() -> None:
    drive = Drive(2)
    live = drive.open(QUIC)
    drive.route.quiet(live, 0)
    drive.until(0)
    drive.take()
    drive.until(10)
    drive.fail(QUIC)
    assert drive.take() == [(route.RESCUE_AFTER, "dial", TLS), (10, "dial", QUIC)]
    drive.until(10.9)
    drive.fail(TLS)
    drive.until(12)
    assert drive.take() == [(11.8, "dial", TLS)]
    drive.until(20)
    drive.fail(QUIC)
    assert drive.take() == [(20, "dial", QUIC)]


def test_a_silent_parent_is_asked_often_after_a_while_and_for_a_while() -> None:
    drive = Drive(2)
    assert drive.route.knocking == (0, 0), "nobody is known to be lost"
    live = drive.open(QUIC)
    drive.until(100)
    drive.route.quiet(live, 100)
    drive.until(160)
    drive.route.closed(live, 160)
    assert drive.route.knocking == (104, 190), "that the old link is gone now changes nothing"
    drive.open(QUIC)
    drive.until(300)
    drive.route.closed(drive.attempts[QUIC], 300)
    assert drive.route.knocking == (304, 390)


def test_a_change_of_the_network_is_no_reason_to_ask_often_at_any_price_again_and_again() -> None:
    drive = Drive(1)
    live = drive.open(QUIC)
    drive.until(100)
    drive.route.quiet(live, 100)
    for now in (101, 185):
        drive.route.hurry(now)
        assert drive.route.knocking == (now, max(190, now + 10))
    for now in (191, 5000):
        drive.route.hurry(now)
        assert drive.route.knocking == (185, 195), "a modem may come and go all day"
        assert drive.route.hurried_until == now + 10


def test_a_change_of_the_network_begins_anew_what_was_dialled_in_vain() -> None:
    drive = Drive(2)
    drive.until(5)
    drive.take()
    drive.route.hurry(5)
    drive.poll()
    assert sorted(drive.take()) == [(5, "dial", QUIC), (5, "dial", TLS), (5, "drop", QUIC), (5, "drop", TLS)]
    assert drive.route.knocking == (5, 15)
    drive.until(5.5)
    drive.route.hurry(5.5)
    drive.poll()
    assert drive.take() == [], "what has only just begun goes on"


def test_a_dial_that_succeeds_after_it_was_begun_anew_ends_the_newer_one() -> None:
    drive = Drive(1)
    first = drive.attempts[QUIC]
    drive.until(5)
    drive.route.hurry(5)
    drive.poll()
    drive.route.opened(first, 5)
    drive.poll()
    assert drive.take()[-1] == (5, "drop", QUIC)
    assert drive.route.current == first
    assert not drive.route._dialling


def test_probes_grow_rare_up_to_five_minutes_and_come_at_once_when_told() -> None:
    drive = Drive(2)
    drive.fail(QUIC)
    drive.open(TLS)
    drive.take()
    times = []
    for _ in range(7):
        due = drive.route.next_deadline()
        assert due is not None
        drive.until(due)
        times.append(drive.now)
        drive.fail(QUIC)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 30
    assert gaps == [60, 120, 240, 300, 300, 300]
    drive.take()
    drive.route.hurry(drive.now)
    drive.until(drive.now + 0.001)
    assert [what for _, what, _ in drive.take()] == ["dial"]


def test_pauses_between_rounds_double_up_to_half_a_minute_with_jitter() -> None:
    drive = Drive(1, chance=random.Random(1).random)
    starts = []
    for _ in range(12):
        starts.append(drive.now)
        drive.fail(Way(0, 0))
        due = drive.route.next_deadline()
        assert due is not None
        drive.until(due)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    full = [min(0.5 * 2**step, 30.0) for step in range(len(gaps))]
    assert all(most / 2 <= gap <= most for gap, most in zip(gaps, full, strict=True))
    assert len(set(gaps[-4:])) == 4, "not all at the same time"


def test_a_change_of_the_network_ends_a_pause_and_the_next_is_short_again() -> None:
    drive = Drive(1)
    while drive.now < 60:
        drive.fail(QUIC)
        drive.until(drive.route.next_deadline() or 0)
    drive.fail(QUIC)
    drive.take()
    assert (drive.route.next_deadline() or 0) > drive.now + 10
    drive.now += 1
    drive.route.hurry(drive.now)
    drive.poll()
    assert drive.take() == [(drive.now, "dial", QUIC)]
    drive.fail(QUIC)
    assert drive.route.next_deadline() == drive.now + route.BACK_OFF[0]


def test_a_change_of_the_network_is_nothing_to_a_link_that_is_the_best() -> None:
    drive = Drive(2)
    drive.open(QUIC)
    drive.take()
    drive.route.hurry(drive.now)
    drive.until(drive.now + 400)
    assert drive.take() == []


def test_a_link_that_lasted_starts_the_pauses_anew() -> None:
    drive = Drive(1)
    for _ in range(5):
        drive.fail(Way(0, 0))
        drive.until(drive.route.next_deadline() or 0)
    attempt = drive.open(Way(0, 0))
    drive.until(drive.now + 100)
    drive.route.closed(attempt, drive.now)
    assert drive.route.next_deadline() == drive.now + route.BACK_OFF[0]


def test_a_quiet_link_is_kept_while_others_are_tried_and_goes_on_when_it_speaks_again() -> None:
    drive = Drive(2)
    live = drive.open(QUIC)
    drive.until(100)
    drive.take()
    drive.route.quiet(live, 100)
    drive.until(101)
    assert drive.take() == [(100, "dial", QUIC), (100 + route.RESCUE_AFTER, "dial", TLS)]
    drive.route.heard(live, 101)
    drive.until(102)
    assert sorted(drive.take()) == [(101, "drop", QUIC), (101, "drop", TLS)]
    assert drive.route.current == live


def test_a_quiet_link_gives_way_to_whichever_answers() -> None:
    drive = Drive(2)
    live = drive.open(QUIC)
    drive.route.quiet(live, 0)
    drive.until(1)
    tls = drive.open(TLS)
    assert drive.route.current == tls
    drive.until(3)
    assert live not in drive.route._open, "closed once the new one had proved itself"
    drive.take()
    drive.open(QUIC)
    drive.until(5)
    assert drive.take() == [(4.0, "drop", TLS)]


def test_rounds_go_on_while_a_link_is_quiet() -> None:
    drive = Drive(1)
    live = drive.open(Way(0, 0))
    drive.take()
    drive.route.quiet(live, 0)
    drive.poll()
    for _ in range(3):
        drive.fail(Way(0, 0))
        drive.until(drive.route.next_deadline() or 0)
    assert [what for _, what, _ in drive.take()] == ["dial"] * 4


def test_an_older_link_that_is_quiet_does_not_serve_when_the_newer_one_breaks() -> None:
    """The parent was killed and started again: the old link is dead, and the new one may break before it is gone."""
    drive = Drive(1)
    old = drive.open(QUIC)
    drive.until(20.0)
    drive.route.quiet(old, drive.now)
    drive.until(20.1)
    new = drive.open(QUIC)
    drive.take()
    drive.route.closed(new, drive.now)
    drive.until(20.2)
    assert ("dial", QUIC) in [entry[1:] for entry in drive.take()]


def test_a_parent_that_ends_each_link_beside_a_quiet_one_is_not_dialled_without_pauses() -> None:
    drive = Drive(1)
    drive.route.quiet(drive.open(QUIC), 0)
    drive.poll()
    for _ in range(6):
        drive.until(drive.now)
        if drive.route._dialling:
            drive.route.closed(drive.open(QUIC), drive.now)
    assert drive.now == 0
    assert len([entry for entry in drive.take() if entry[1] == "dial"]) <= 3
    drive.until(10)
    assert ("dial", QUIC) in [entry[1:] for entry in drive.take()]


def test_an_older_link_serves_again_when_the_newer_one_breaks_before_it_proved_itself() -> None:
    drive = Drive(2)
    drive.fail(QUIC)
    tls = drive.open(TLS)
    drive.until(31)
    newer = drive.attempts[QUIC]
    drive.route.opened(newer, 31)
    drive.route.closed(newer, 31.2)
    assert drive.route.current == tls
    drive.until(40)
    assert tls in drive.route._open


@given(st.integers(0, 2**32), st.lists(st.integers(1, 2), min_size=1, max_size=3))
def test_whatever_happens_it_goes_on_trying_and_never_drops_the_last_good_link(seed, transports) -> None:
    chance = random.Random(seed)
    drive = Drive(*transports, chance=chance.random)
    for _ in range(60):
        plan = drive.route
        choice = chance.randrange(6)
        if choice == 0 and plan._dialling:
            drive.open(chance.choice(sorted(plan._dialling)))
        elif choice == 1 and plan._dialling:
            drive.fail(chance.choice(sorted(plan._dialling)), answered=chance.random() < 0.2)
        elif choice == 2 and plan._open:
            plan.closed(chance.choice(sorted(plan._open, key=lambda a: a.number)), drive.now)
        elif choice == 3 and plan.current is not None:
            plan.quiet(plan.current, drive.now)
        elif choice == 4 and plan.current is not None:
            plan.heard(plan.current, drive.now)
        drive.until(drive.now + chance.choice([0.0, 0.1, 1.0, 40.0]))
        assert plan.current is None or plan.current in plan._open
        assert plan.current is not None or plan._dialling or plan.next_deadline() is not None, "it gave up"


@pytest.mark.parametrize("waits", [0.0, 2.0])
def test_the_only_way_left_is_tried_for_ever(waits) -> None:
    drive = Drive(1)
    for _ in range(50):
        drive.until(drive.now + waits)
        if Way(0, 0) in drive.route._dialling:
            drive.fail(Way(0, 0))
        drive.until(drive.route.next_deadline() or drive.now)
    assert sum(what == "dial" for _, what, _ in drive.log) >= 25
