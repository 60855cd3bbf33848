"""A dead path is probed gently, and used at once when it is back."""

from itertools import pairwise

from tests.sync.world import ROOM, World, key, register
from twingateway.sync.frame import decode_frame
from twingateway.twin.register import StoredRegister


def blackout(seconds, writes=30):
    """Everything the edge sends into a dead path, as (time since its beginning, frame)."""
    world = World()
    world.connect()
    for _ in range(4):
        world.step()
    session, start, said = world.edge.session, world.now, []
    for number in range(writes):
        session.put(StoredRegister(register(number + 1, number, key(f"device-{number}")), number + 1))
    while world.now < start + seconds:
        while (frame := session.next_frame(1, ROOM, world.now)) is not None:
            said.append((world.now - start, frame))
        due = session.next_deadline(1)
        world.now = max(world.now + 0.001, due if due is not None else world.now)
    return world, said


def test_probes_are_small_and_steady_for_a_minute_then_rare():
    world, said = blackout(180.0)
    assert world.edge.session.quality(1).silent
    probes = [(at, frame) for at, frame in said if at > 1.5]
    assert all(len(frame) <= 100 for _, frame in probes)
    gaps = [after[0] - before[0] for before, after in pairwise(probes)]
    steady = [gap for (at, _), gap in zip(probes, gaps, strict=False) if at < 55]
    late = [gap for (at, _), gap in zip(probes, gaps, strict=False) if at > 70]
    assert all(0.045 < gap < 0.06 for gap in steady)
    assert all(0.9 < gap < 1.1 for gap in late)


def test_a_probe_carries_the_newest_state():
    world, _ = blackout(3.0)
    session = world.edge.session
    session.put(StoredRegister(register(500, "newest", key("device-3")), 500))
    world.now += 0.06
    probe = decode_frame(session.next_frame(1, ROOM, world.now))
    assert "newest" in [row[3] for row in probe.registers]


def test_a_probe_elicits_an_answer_even_if_no_register_fits_a_datagram():
    world = World()
    world.connect()
    session = world.edge.session
    session.put(StoredRegister(register(1, 1, key("d0")), 1))
    assert session.next_frame(1, ROOM, world.now) is not None
    session.put(StoredRegister(register(2, "x" * 2000, key("d0")), 2))
    world.now += 5
    probe = decode_frame(session.next_frame(1, ROOM, world.now))
    assert probe.elicits
    assert probe.registers == ()


def test_the_first_answer_ends_the_silence_and_nothing_of_it_counts_as_loss():
    world, _ = blackout(40.0)
    for number in range(30):  # what was put by hand is on this disk too
        of = key(f"device-{number}")
        world.edge.shown[of] = StoredRegister(register(number + 1, number, of), number + 1)
    world.step(0.06)
    world.step()
    assert not world.edge.session.quality(1).silent
    world.calm(1.0)
    world.check_equal()
    assert world.edge.session.quality(1).loss < 0.1


def test_nothing_to_say_is_not_silence():
    world = World()
    world.connect()
    for _ in range(100):
        world.step()
    world.now += 1000
    assert world.edge.session.next_frame(1, ROOM, world.now) is None
    assert not world.edge.session.quality(1).silent
