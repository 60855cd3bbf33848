"""Hellos: what two nodes learn of each other, and what is sent again because of it."""

import copy

import pytest

from tests.sync.world import ROOM, World, key, of_kind, register
from twingateway.errors import ProtocolViolation
from twingateway.sync import buckets
from twingateway.sync.events import (
    CompareNeeded,
    ControlReceived,
    LocalRolledBack,
    PeerStoreChanged,
    ResumeNeeded,
)
from twingateway.sync.frame import decode_frame
from twingateway.sync.hello import Hello, decode_control, encode_control, encode_hello, parse_hello
from twingateway.sync.knowledge import PeerKnowledge
from twingateway.twin.register import StoredRegister


@pytest.fixture(autouse=True)
def _loss_is_known(monkeypatch):
    """So that nothing goes twice without need."""
    monkeypatch.setattr("twingateway.sync.path._KNOWN", 0)


def hundred_registers():
    world = World()
    world.connect()
    for number in range(100):
        world.edge.write(key(f"d{number}"), number)
    world.calm()
    for _ in range(60):
        world.step()  # the announcement that all is well
    return world


def sent_registers(world):
    """How many registers the edge sends until all is calm."""
    before = {link: lane.sender.sends for link, lane in world.edge.session._lanes.items()}
    world.calm()
    return sum(lane.sender.sends - before.get(link, 0) for link, lane in world.edge.session._lanes.items())


def meet(world):
    """A new link; what is exchanged on it until all is calm, as (events of the edge, registers sent)."""
    world.edge.events.clear()
    world.connect()
    for _ in range(3):
        world.step()
    return world.edge.events, sent_registers(world) + sum(
        lane.sender.sends for lane in world.edge.session._lanes.values()
    )


def test_a_new_link_between_the_same_processes_resumes_nothing():
    world = hundred_registers()
    world.disconnect(1)
    world.edge.write(key("d1"), "while away")
    events, sends = meet(world)
    assert of_kind(events, ResumeNeeded) == []
    assert sends == 1
    world.check_equal()


def test_everything_unsent_goes_on_the_newest_link_and_the_old_one_still_acknowledges():
    world = hundred_registers()
    world.edge.write(key("d1"), "first try")
    frame = world.edge.session.next_frame(1, ROOM, world.now)
    world.connect()
    again = decode_frame(world.edge.session.next_frame(2, ROOM, world.now))
    assert [row[3] for row in again.registers] == ["first try"]
    world.cloud.take(1, world.cloud.session.receive_state(1, frame, world.now), world.now, world.edge)
    world.cloud.commit()
    reply = world.cloud.session.next_frame(1, ROOM, world.now)
    world.edge.take(1, world.edge.session.receive_state(1, reply, world.now), world.now, world.cloud)
    assert len(world.edge.session.outbox) == 0


def test_a_restarted_sender_resumes_above_low():
    world = hundred_registers()
    world.edge.write(key("d5"), "committed, never sent")
    world.edge.commit()
    world.restart(world.edge)
    events, sends = meet(world)
    assert len(of_kind(events, ResumeNeeded)) == 1
    assert sends == 1
    world.check_equal()


def test_a_peer_that_lost_its_store_gets_everything():
    world = hundred_registers()
    cloud = world.cloud
    cloud.disk.registers.clear()
    cloud.disk.known, cloud.disk.store_id = None, b"another store"
    world.restart(cloud)
    events, sends = meet(world)
    assert [event.previous for event in of_kind(events, PeerStoreChanged)] == [b"store-cloud"]
    assert sends >= 100
    world.check_equal()


def test_stores_with_new_ids_exchange_hashes_and_then_only_what_differs():
    world = hundred_registers()
    world.edge.disk.store_id = b"renewed"
    world.edge.write(key("d7"), "changed since")
    world.edge.commit()
    world.restart(world.edge)
    world.cloud.events.clear()
    events, sends = meet(world)
    assert len(of_kind(world.cloud.events, CompareNeeded)) == 1
    assert len(of_kind(events, ResumeNeeded)) == 1
    assert 1 <= sends <= 6
    world.check_equal()
    for _ in range(60):
        world.step()
    assert world.cloud.disk.known.store_id == b"renewed"
    assert world.cloud.disk.known.low == world.edge.session.last_lsn


def test_a_restored_backup_is_told_so_and_sends_nothing():
    world = hundred_registers()
    backup = copy.deepcopy(world.edge.disk)
    world.restart(world.edge)
    world.connect()
    world.edge.write(key("d1"), "after the backup")
    world.calm()
    world.edge.disk = backup
    world.restart(world.edge)
    forked_at = world.edge.disk.next_lsn - 1
    world.edge.events.clear()
    world.connect()
    world.edge.session.put(StoredRegister(register(9999, "no", key("d2")), 9999))
    for _ in range(20):
        world.step()
    (event,) = of_kind(world.edge.events, LocalRolledBack)
    assert event.forked_at == forked_at, "behind it this history went on"
    assert of_kind(world.edge.events, ResumeNeeded) == []
    world.edge.session.put(StoredRegister(register(10_000, "no", key("d3")), 10_000))
    world.connect()
    for _ in range(20):
        world.pump()
        assert not any(name == "edge" and decode_frame(frame).registers for _, name, frame in world.flying)
        world.step()


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"node": "somebody"},
        {"node": 5},
        {"store": b""},
        {"boot": "text"},
        {"last": -1},
        {"peer-low": 1.5},
        {"peer-store": b"x" * 65},
    ],
    ids=str,
)
def test_a_wrong_hello_is_a_violation(change):
    world = World()
    world.connect()
    _, body = decode_control(encode_hello(Hello("cloud", b"s", b"b", 0)))
    with pytest.raises(ProtocolViolation):
        world.edge.session.receive_control(1, encode_control("hello", {**body, **change}), world.now)
    assert world.edge.session.known is None


def test_hello_survives_its_bytes_and_may_grow():
    hello = Hello("cloud", b"s", b"b", 7, b"o", 3, b"ob", 5)
    kind, body = decode_control(encode_hello(hello))
    assert kind == "hello"
    assert parse_hello({**body, "later": 1}) == hello


def test_application_messages_arrive_in_order_after_the_hello():
    world = World()
    world.connect()
    session = world.edge.session
    with pytest.raises(ProtocolViolation):
        session.receive_control(1, encode_control("claim", {}), world.now)
    for number in range(3):
        world.cloud.session.send_control(1, "claim", {"number": number, "digest": b"\0"})
    world.step()
    received = of_kind(world.edge.events, ControlReceived)
    assert [(event.kind, event.body["number"]) for event in received] == [("claim", 0), ("claim", 1), ("claim", 2)]


@pytest.mark.parametrize(
    "message",
    [
        encode_control("hello", {}),
        encode_control("buckets", {"hashes": bytes(2048)}),
        encode_control("buckets", {"hashes": b""}),
        b"",
        b"\x01",
        b"\x82\x00\xa0",
        b"\x82\x61a\x80",
        b"\x82\x61a\xa1\x01\x02",
        b"\x00" * (1024 * 1024 + 1),
    ],
)
def test_nonsense_on_the_control_stream_is_a_violation(message):
    world = World()
    world.connect()
    world.step()
    with pytest.raises(ProtocolViolation):
        world.edge.session.receive_control(1, message, world.now)


@pytest.mark.parametrize(
    ("kind", "body"), [("hello", {}), ("claim", {"x": float("nan")}), ("", {}), ("x", {"y": {1, 2}})]
)
def test_what_is_no_control_message_is_not_sent(kind, body):
    world = World()
    world.connect()
    with pytest.raises(ValueError):
        world.edge.session.send_control(1, kind, body)


def test_buckets_differ_only_where_registers_do():
    ours = [register(number, number, key(f"d{number}")) for number in range(500)]
    theirs = [*ours[:-1], register(9999, 0, ours[-1].key)]
    assert buckets.unequal(buckets.hashes(ours), buckets.hashes(reversed(ours))) == frozenset()
    assert buckets.unequal(buckets.hashes(ours), buckets.hashes(theirs)) == {buckets.bucket_of(ours[-1].key)}


def test_calls_about_a_link_that_is_gone_do_nothing():
    world = World()
    session = world.edge.session
    assert session.receive_state(9, b"", 0.0) == []
    assert session.receive_control(9, b"", 0.0) == []
    assert session.next_frame(9, ROOM, 0.0) is session.next_stream_frame(9, 0.0) is session.next_control(9) is None
    assert session.next_deadline(9) is None
    session.committed(9, 1)
    session.refuse(9, 1, key("d0"), register(1, 1).version, "x", "")
    session.resume(9, [], 0.0)
    session.compare(9, [])
    session.send_control(9, "claim", {})
    session.detach(9)


def test_knowledge_given_at_the_start_is_told_in_the_hello():
    world = World()
    world.edge.disk.known = PeerKnowledge(b"theirs", 5, b"boot", 8)
    world.restart(world.edge)
    world.connect()
    _, body = decode_control(world.edge.session.next_control(1))
    hello = parse_hello(body)
    assert (hello.peer_store_id, hello.low, hello.peer_boot_id, hello.peer_lsn) == (b"theirs", 5, b"boot", 8)


def test_a_new_link_whose_peer_has_not_introduced_itself_takes_no_registers_from_one_whose_has():
    world = hundred_registers()
    session = world.edge.session
    session.attach(2, datagrams=ROOM, now=world.now, eager=False)
    assert session.active == 1
    session.detach(1)
    assert session.active == 2, "there is no other"
