"""When and in what order a session sends, and what it makes of acknowledgements."""

from itertools import pairwise

import pytest

from tests.sync.world import ROOM, World, key, of_kind, register
from twingateway.errors import InvalidValue, ProtocolViolation, TooLarge
from twingateway.sync.events import Durable, LowAdvanced, PeerRefused, RegistersReceived
from twingateway.sync.frame import Answer, Exceptions, Frame, Names, decode_frame, encode_frame
from twingateway.sync.lane import _MIN_ROOM
from twingateway.sync.receiver import REPLAYS
from twingateway.twin.register import Section, StoredRegister


@pytest.fixture(autouse=True)
def _loss_is_known(monkeypatch):
    """So that nothing goes twice without need."""
    monkeypatch.setattr("twingateway.sync.path._KNOWN", 0)


@pytest.fixture
def world():
    """Two nodes that have met."""
    world = World()
    world.connect()
    for _ in range(4):
        world.step()
    world.now += 1
    return world


def put(world, of, value, lsn, urgent=False):
    world.edge.session.put(StoredRegister(register(lsn, value, of), lsn), urgent=urgent)


def sent(world, room=ROOM):
    """The edge's next frame, decoded."""
    frame = world.edge.session.next_frame(1, room, world.now)
    return None if frame is None else decode_frame(frame)


def values(frame):
    return [] if frame is None else [row[3] for row in frame.registers]


def answer(world, **parts):
    """The cloud says this of the edge's frames."""
    number = answer.number = getattr(answer, "number", 1000) + 1
    frame = encode_frame(Frame(number, 0, 0, Answer(**parts)))
    return world.edge.session.receive_state(1, frame, world.now)


# --- when -------------------------------------------------------------------------------------------------------


def test_at_once_when_idle_then_every_four_milliseconds(world):
    put(world, key("d0"), 1, 1)
    assert values(sent(world)) == [1]
    put(world, key("d1"), 2, 2)
    assert sent(world) is None
    due = world.edge.session.next_deadline(1)
    assert due == pytest.approx(world.now + 0.004)
    world.now = due
    assert values(sent(world)) == [2]


def test_a_datagrams_worth_is_due_at_once_and_less_is_not(world):
    put(world, key("d0"), 1, 1)
    sent(world)
    put(world, key("d1"), 2, 2)
    assert world.edge.session.next_deadline(1) > world.now
    for number in range(2, 100):
        put(world, key(f"d{number}"), number, number + 1)
    assert world.edge.session.next_deadline(1) <= world.now
    assert len(values(sent(world))) > 15


def test_a_whole_datagram_does_not_wait(world):
    for number in range(100):
        put(world, key(f"d{number}"), number, number + 1)
    frames = [values(frame) for frame in iter(lambda: sent(world), None)]
    assert len(frames) > 3
    world.now += 0.004
    while rest := values(sent(world)):
        frames.append(rest)
        world.now += 0.004
    assert [value for frame in frames for value in frame] == list(range(100))


def test_urgent_before_routine_and_newest_version_only(world):
    put(world, key("d0"), "old", 1)
    put(world, key("d1"), "routine", 2)
    put(world, key("d0"), "new", 3)
    put(world, key("d2", section=Section.ACK), "urgent", 4, urgent=True)
    assert values(sent(world)) == ["urgent", "new", "routine"]


def test_an_older_version_does_not_replace_a_newer_one(world):
    put(world, key("d0"), "new", 5)
    world.edge.session.put(StoredRegister(register(4, "old", key("d0")), 6))
    assert values(sent(world)) == ["new"]
    assert len(world.edge.session.outbox) == 1


def test_no_frame_exceeds_its_room(world):
    for number in range(60):
        put(world, key(f"device-{number}", "property"), [number, "x" * (number * 7)], number + 1)
    for room in range(_MIN_ROOM, ROOM, 11):
        frame = world.edge.session.next_frame(1, room, world.now)
        assert frame is None or len(frame) <= room
        world.now += 0.01
    assert world.edge.session.next_frame(1, _MIN_ROOM - 1, world.now) is None


def test_what_fits_no_datagram_goes_by_stream_and_delays_nothing(world):
    put(world, key("d0"), "x" * 3000, 1)
    put(world, key("d1"), "small", 2)
    assert values(sent(world)) == ["small"]
    large = world.edge.session.next_stream_frame(1, world.now)
    assert large is not None
    assert values(decode_frame(large)) == ["x" * 3000]
    assert world.edge.session.next_stream_frame(1, world.now) is None


def test_the_largest_value_travels(world):
    world.edge.write(key("d0"), "x" * 65_000)
    world.calm()
    world.check_equal()


def test_without_datagrams_everything_goes_by_stream():
    world = World(datagrams=0)
    world.connect()
    world.edge.write(key("d0"), 1)
    world.edge.write(key("d1"), "x" * 60_000)
    assert world.edge.session.next_frame(1, ROOM, world.now) is None
    world.calm()
    world.check_equal()
    assert world.edge.session.quality(1).rtt is not None


@pytest.mark.parametrize(("value", "error"), [(float("nan"), InvalidValue), ("x" * 200_000, TooLarge)])
def test_what_the_peer_would_refuse_is_refused_here(world, value, error):
    with pytest.raises(error):
        put(world, key("d0"), value, 1)
    assert len(world.edge.session.outbox) == 0


# --- loss -------------------------------------------------------------------------------------------------------


def seen_soon(world, rtt=0.1):
    """Let the edge measure its RTT with one register."""
    put(world, key("first"), 0, 1)
    number = sent(world).number
    world.now += rtt
    answer(world, seen=((1, number),), durable=((1, number),))
    return number


def test_a_lost_register_goes_again_after_a_quarter_more_than_the_rtt(world):
    seen_soon(world)
    put(world, key("d0"), "lost", 2)
    put(world, key("d1"), "lost too", 3)
    assert sent(world) is not None
    start = world.now
    put(world, key("d0"), "newer", 4)
    world.now += 0.01
    assert values(sent(world)) == ["newer"]
    world.now = start + 0.120
    assert sent(world) is None
    world.now = start + 0.134
    assert values(sent(world)) == ["lost too"]


def test_a_seen_register_does_not_go_again_until_its_durability_is_overdue(world):
    seen_soon(world)
    put(world, key("d0"), "kept", 2)
    number = sent(world).number
    world.now += 0.1
    answer(world, seen=((1, number),))
    world.now += 2.05
    assert values(sent(world)) == []
    world.now += 0.1
    assert values(sent(world)) == ["kept"]
    assert len(world.edge.session.outbox) == 1


def test_asking_whether_it_is_durable_becomes_rarer(world):
    seen_soon(world)
    put(world, key("d0"), "kept", 2)
    asked = []
    for _ in range(4000):
        frame = sent(world)
        if values(frame):
            asked.append(world.now)
            answer(world, seen=((1, frame.number),))
        world.now += 0.05
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert 2 <= gaps[0] < 2.3
    assert 60 <= gaps[-1] < 60.3


def test_only_the_acknowledged_version_leaves_the_outbox(world):
    put(world, key("d0"), "old", 1)
    first = sent(world).number
    put(world, key("d0"), "new", 2)
    assert of_kind(answer(world, seen=((first, first),), durable=((first, first),)), Durable) == []
    world.now += 0.01
    second = sent(world).number
    (event,) = answer(world, durable=((second, second),))
    assert (event.version.seq, event.lsn) == (2, 2)
    assert len(world.edge.session.outbox) == 0


def test_copies_go_in_later_frames_and_only_into_free_room(world):
    session = world.edge.session
    lane = session._lanes[1]
    for number in range(300):
        lane.sender.path.resolved(number % 5 == 0)
    lane.sender.path.sample(0.1)
    put(world, key("d0"), "again", 1)
    frames = []
    for _ in range(60):
        frames.append(values(sent(world)))
        world.now += 0.001
    assert sum("again" in frame for frame in frames) == 5
    for number in range(100):
        put(world, key(f"d{number}"), number, number + 2)
    full = [decode_frame(session.next_frame(1, ROOM, world.now)) for _ in range(2)]
    assert len({(row[0], row[2]) for frame in full for row in frame.registers}) == sum(len(f.registers) for f in full)


def test_a_seen_register_is_not_repeated(world):
    lane = world.edge.session._lanes[1]
    for number in range(300):
        lane.sender.path.resolved(number % 5 == 0)
    put(world, key("d0"), "once", 1)
    number = sent(world).number
    answer(world, seen=((number, number),))
    world.now += 0.02
    assert sent(world) is None


# --- names ------------------------------------------------------------------------------------------------------


def test_names_are_spelled_out_until_a_frame_that_did_was_seen(world):
    put(world, key("d0"), 1, 1)
    first = sent(world)
    assert first.names.devices == {0: "default/d0"}
    world.now += 0.01
    put(world, key("d0"), 2, 2)
    put(world, key("d1"), 2, 3)
    second = sent(world)
    assert second.names.devices == {0: "default/d0", 1: "default/d1"}
    answer(world, seen=((first.number, first.number),))
    world.now += 0.01
    put(world, key("d0"), 3, 4)
    put(world, key("d1"), 3, 5)
    third = sent(world)
    assert third.names.devices == {1: "default/d1"}
    assert third.names.fields == {}


@pytest.mark.parametrize(("one_lost_of", "told"), [(1000, 1), (50, 2), (5, 3)])
def test_an_acknowledgement_goes_as_often_as_a_register_would_on_this_path_but_three_times_at_most(
    world, one_lost_of, told
):
    path = world.cloud.session._lanes[1].sender.path
    for number in range(2, 2000):
        path.resolved(number % one_lost_of == 0)
    put(world, key("d0"), 1, 1)
    world.cloud.session.receive_state(1, world.edge.session.next_frame(1, ROOM, world.now), world.now)
    frames = []
    for _ in range(5):
        frames.append(world.cloud.session.next_frame(1, ROOM, world.now))
        world.now += 0.004
    assert [frame is not None for frame in frames] == [True] * told + [False] * (5 - told)


def test_an_unknown_number_is_answered_and_its_neighbours_are_used(world):
    named = Names({7: "default/known"}, {3: (Section.REPORTED, "p")})
    rows = tuple((device, 3, register(1, device).version, device, 0) for device in (7, 8))
    events = world.cloud.session.receive_state(1, encode_frame(Frame(50, 9, 0, None, named, rows)), world.now)
    (received,) = of_kind(events, RegistersReceived)
    assert [one.key.device.name for one in received.registers] == ["known"]
    reply = decode_frame(world.cloud.session.next_frame(1, ROOM, world.now))
    assert reply.answer.exceptions == (Exceptions(50, False, 0, 1, ((1, "unknown-name", ""),)),)
    world.cloud.session.committed(1, 50)
    world.now += 0.01
    while not any(item.durable for item in reply.answer.exceptions):
        reply = decode_frame(world.cloud.session.next_frame(1, ROOM, world.now))
        world.now += 0.01
    assert not any(first <= 50 <= last for first, last in reply.answer.durable)


def test_a_name_said_to_be_unknown_is_repeated(world):
    put(world, key("d0"), 1, 1)
    put(world, key("d1"), 2, 2)
    number = sent(world).number
    refused = Exceptions(number, True, 0, 1, ((1, "unknown-name", ""),))
    events = answer(world, seen=((number, number),), exceptions=(refused,))
    assert [event.key.device.name for event in of_kind(events, Durable)] == ["d0"]
    world.now += 0.01
    again = sent(world)
    assert again.names.devices == {1: "default/d1"}
    assert values(again) == [2]


def test_a_number_is_never_given_to_another_name(world):
    def frame(number, name):
        return encode_frame(Frame(number, 0, 0, None, Names({0: name}, {})))

    session = world.cloud.session
    session.receive_state(1, frame(90, "default/a"), world.now)
    session.receive_state(1, frame(91, "default/a"), world.now)
    with pytest.raises(ProtocolViolation):
        session.receive_state(1, frame(92, "default/b"), world.now)
    for wrong in ("no-namespace", "default/a b", "a/b/c"):
        with pytest.raises(ProtocolViolation):
            session.receive_state(1, encode_frame(Frame(93, 0, 0, None, Names({5: wrong}, {}))), world.now)


# --- refusals and nonsense --------------------------------------------------------------------------------------


def test_a_refused_register_ends_and_its_neighbours_do_not_notice(world):
    world.cloud.refused_keys = {key("bad")}
    for name in ("good", "bad", "fine"):
        world.edge.write(key(name), name)
    world.calm()
    (refused,) = of_kind(world.edge.events, PeerRefused)
    assert (refused.key, refused.code, refused.message) == (key("bad"), "invalid-value", "not wanted")
    assert {event.key for event in of_kind(world.edge.events, Durable)} == {key("good"), key("fine")}


def test_many_refusals_are_told_in_portions(world):
    names = [f"device-{number}" for number in range(300)]
    world.cloud.refused_keys = {key(name) for name in names[::2]}
    for name in names:
        world.edge.write(key(name), 1)
    world.calm()
    assert {event.key.device.name for event in of_kind(world.edge.events, PeerRefused)} == set(names[::2])
    assert {event.key.device.name for event in of_kind(world.edge.events, Durable)} == set(names[1::2])


@pytest.mark.parametrize(
    "parts",
    [
        {"seen": ((1, 9999),)},
        {"durable": ((9999, 9999),)},
        {"exceptions": (Exceptions(9999, True, 0, 0, ((0, "x", ""),)),)},
    ],
)
def test_acknowledging_what_was_never_sent_is_a_violation_that_changes_nothing(world, parts):
    put(world, key("d0"), 1, 1)
    sent(world)
    with pytest.raises(ProtocolViolation):
        answer(world, **parts)
    assert len(world.edge.session.outbox) == 1


def test_a_duplicate_is_answered_again_but_not_offered_again(world):
    put(world, key("d0"), 1, 1)
    frame = world.edge.session.next_frame(1, ROOM, world.now)
    session = world.cloud.session
    (received,) = of_kind(session.receive_state(1, frame, world.now), RegistersReceived)
    session.committed(1, received.frame)
    while session.next_frame(1, ROOM, world.now) is not None:
        world.now += 0.01
    assert session.next_frame(1, ROOM, world.now) is None
    assert of_kind(session.receive_state(1, frame, world.now), RegistersReceived) == []
    reply = decode_frame(session.next_frame(1, ROOM, world.now))
    assert any(first <= received.frame <= last for first, last in reply.answer.durable)


def test_a_path_that_doubles_every_frame_is_borne_with_and_a_peer_that_replays_is_not(world):
    session, frames = world.cloud.session, [encode_frame(Frame(number, 0, 0)) for number in range(100, 3100)]
    for frame in frames:
        session.receive_state(1, frame, world.now)
        session.receive_state(1, frame, world.now)

    def replay():
        for _ in range(3 * REPLAYS):
            session.receive_state(1, frames[-1], world.now)

    with pytest.raises(ProtocolViolation, match="came again"):
        replay()


def test_acknowledgements_end(world):
    world.edge.write(key("d0"), 1)
    world.calm()
    for _ in range(100):
        world.step()
    world.pump()
    assert world.flying == []
    assert world.edge.session.next_deadline(1) is None
    assert world.cloud.session.next_deadline(1) is None


def test_frames_that_wait_for_their_commit_are_bounded(world):
    rows = ((0, 0, register(1, 1).version, 1, 0),)
    named = Names({0: "default/d0"}, {0: (Section.REPORTED, "p")})
    session, offered = world.cloud.session, 0
    for number in range(100, 5100):
        offered += bool(session.receive_state(1, encode_frame(Frame(number, 0, 0, None, named, rows)), world.now))
    assert offered == 4096
    reply = decode_frame(session.next_frame(1, ROOM, world.now))
    assert reply.answer.highest == 100 + 4095


# --- low --------------------------------------------------------------------------------------------------------


def test_low_stays_below_an_lsn_that_is_not_settled(world):
    session = world.edge.session
    world.edge.unsettled.add(1001)
    put(world, key("d1"), 1, 1002)
    world.step()
    world.step(0.2)
    world.step()
    assert len(session.outbox) == 0
    assert all(event.low <= 1000 for event in of_kind(world.cloud.events, LowAdvanced))
    put(world, key("d0"), 1, 1001)
    world.edge.unsettled.clear()
    world.calm()
    for _ in range(60):
        world.step()
    assert world.cloud.disk.known.low == 1002


def test_low_is_announced_when_the_outbox_is_empty(world):
    world.edge.write(key("d0"), 1)
    world.calm()
    for _ in range(60):
        world.step()
    assert world.cloud.disk.known.low == world.edge.session.last_lsn
    assert of_kind(world.cloud.events, LowAdvanced)[-1].boot_id == world.edge.boot_id


# --- a peer that says nothing of it -----------------------------------------------------------------------------


def test_it_is_known_since_when_a_peer_says_nothing_of_what_it_is_sent(world):
    session, begun = world.edge.session, world.now
    assert session.unheeded_since(1) is None, "nothing is to be said"
    put(world, key("d0"), 1, 1)
    while world.now < begun + 3:
        sent(world)
        session.receive_state(1, encode_frame(Frame(5000 + int(world.now * 1000), 0, 0)), world.now)
        world.now += 0.05
    assert session.unheeded_since(1) == begun, "other things that it says do not count"
    answer(world, seen=((1, 1),))
    assert session.unheeded_since(1) is None
    sent(world)
    put(world, key("d1"), 2, 2)
    world.now += 1
    sent(world)
    assert session.unheeded_since(1) == world.now
    number = session._lanes[1].sender.number
    answer(world, durable=((1, number),))
    world.now += 500
    assert session.unheeded_since(1) is None
    put(world, key("d1"), 3, 3)
    sent(world)
    assert session.unheeded_since(1) == world.now, "from now on, not from when it was last asked"


def test_whatever_is_acknowledged_at_once_only_what_is_on_record_is_looked_at(world):
    sender = world.edge.session._lanes[1].sender
    put(world, key("d0"), 1, 1)
    assert values(sent(world)) == [1]
    sender.number = 10**12  # as after many years
    assert len(list(sender._recorded(1, 10**12))) == len(sender._records)
    (durable,) = of_kind(answer(world, durable=((1, 10**12),)), Durable)
    assert durable.key == key("d0")
    assert not sender._records
