"""What goes ahead of a handshake: reported registers of a process that is known, which may come at any time."""

from copy import deepcopy

import pytest

from tests.sync.world import BLOCK, World, key, register
from twingateway.errors import ProtocolViolation
from twingateway.sync.cbor import encode
from twingateway.sync.events import LocalRolledBack
from twingateway.sync.frame import Answer, Frame, Names, encode_frame
from twingateway.twin.register import Section, StoredRegister


@pytest.fixture
def world():
    """Two nodes that have met, and have no link now."""
    world = World()
    world.connect()
    for _ in range(4):
        world.step()
    world.disconnect(1)
    return world


def shown(world, of):
    held = world.cloud.shown.get(of)
    return None if held is None else held.register.value


def test_new_values_are_shown_ahead_of_the_link_and_sent_again_on_it(world):
    world.edge.write(key("d0"), 21.5)
    world.record_early()
    world.deliver_early(0)
    assert shown(world, key("d0")) == 21.5
    assert len(world.edge.session.outbox) == 1, "nobody has acknowledged it"
    world.calm()
    world.check_equal()


def test_a_store_put_back_to_before_what_it_said_early_is_noticed(world):
    """Else it would issue the same numbers for other values."""
    backup = deepcopy(world.edge.disk)
    backup.boots = {world.edge.boot_id: -(-backup.next_lsn // BLOCK) * BLOCK}
    for number in range(3 * BLOCK):
        world.edge.write(key("d0"), number)
    world.edge.commit()
    world.record_early()
    world.deliver_early(0)
    assert shown(world, key("d0")) == 3 * BLOCK - 1
    world.cloud.commit()
    world.restart(world.cloud)
    world.edge.disk = backup
    world.restart(world.edge)
    world.connect()
    world.cloud.events.clear()
    for _ in range(4):
        world.pump()
        world.deliver_streams()
    assert any(isinstance(event, LocalRolledBack) for event in world.edge.events)


def test_the_newest_come_first_and_each_message_is_whole_by_itself(world):
    for number in range(60):
        world.edge.write(key(f"d{number}"), number)
    world.recorded = world.edge.session.early_messages([200, 300])
    first, second = ({one.value for one in world.cloud.session.read_early(data)[0]} for data in world.recorded)
    assert max(first) == 59
    assert first.isdisjoint(second)
    assert len(first) < len(second)
    assert [len(data) <= room for data, room in zip(world.recorded, [200, 300], strict=True)] == [True, True]
    world.deliver_early(1)
    assert shown(world, key("d59")) is None


def test_a_message_that_comes_again_late_changes_nothing(world):
    world.edge.write(key("d0"), "then")
    world.record_early()
    world.deliver_early(0)
    world.edge.write(key("d0"), "now")
    world.calm()
    before = dict(world.cloud.shown)
    for _ in range(3):
        world.deliver_early(0)
    assert world.cloud.shown == before


def test_nothing_but_what_is_reported_goes(world):
    world.edge.session.put(StoredRegister(register(7, "x", key("d0", "p", Section.ACK)), 7), urgent=True)
    assert world.edge.session.early_messages([400]) == []


def test_a_node_says_nothing_early_to_one_that_does_not_know_its_process(world):
    world.edge.write(key("d0"), 1)
    assert world.edge.session.early_messages([400])
    world.restart(world.edge)
    world.edge.write(key("d0"), 2)
    assert world.edge.session.early_messages([400]) == []


def test_what_another_process_of_the_node_says_is_not_used(world):
    world.edge.write(key("d0"), "of the former process")
    world.record_early()
    world.restart(world.edge)
    world.connect()
    for _ in range(4):
        world.step()
    assert world.cloud.session.read_early(world.recorded[0]) == ((), [])


def test_nor_is_anything_from_a_stranger():
    world = World()
    message = encode([b"boot", encode_frame(Frame(1, 0, 0, names=Names({0: "default/d0"}, {})))])
    assert world.cloud.session.read_early(message) == ((), [])


REPORTED = {0: (Section.REPORTED, "p")}
ROW = (0, 0, register(1, 1).version, 1, 5)
REFUSED = {
    "no CBOR": b"\xff",
    "no pair": encode([b"boot"]),
    "no bytes": encode([b"boot", "frame"]),
    "no frame": encode([b"boot", b"\x80"]),
    "an answer": encode([b"boot", encode_frame(Frame(1, 0, 0, answer=Answer(seen=((1, 1),))))]),
    "a low": encode([b"boot", encode_frame(Frame(1, 7, 7))]),
    "a desired value": encode(
        [
            b"boot",
            encode_frame(
                Frame(1, 0, 0, names=Names({0: "default/d0"}, {0: (Section.DESIRED, "p")}), registers=(ROW,))
            ),
        ]
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_not_be_said_early_is_a_violation(world, what):
    with pytest.raises(ProtocolViolation):
        world.cloud.session.read_early(REFUSED[what])


def test_a_register_without_its_name_is_left_out(world):
    message = encode([world.edge.boot_id, encode_frame(Frame(1, 0, 0, registers=(ROW,)))])
    assert world.cloud.session.read_early(message) == ((), [])
    named = Frame(1, 0, 0, names=Names({0: "default/d0"}, REPORTED), registers=(ROW,))
    (one,), _ = world.cloud.session.read_early(encode([world.edge.boot_id, encode_frame(named)]))
    assert one.value == 1
