"""What comes late, from a process of the peer's that has ended, changes nothing that is known of the present one."""

from tests.sync.test_meeting import hundred_registers
from tests.sync.world import ROOM, key, of_kind
from twingateway.sync.acquaintance import FORMER, Acquaintance
from twingateway.sync.events import FormerProcess, LowAdvanced, PeerStoreChanged, RegistersReceived
from twingateway.sync.hello import Hello, encode_control, encode_hello
from twingateway.sync.knowledge import PeerKnowledge


def hello(store, boot, last=0, opened=0):
    return Hello("cloud", store, boot, last, opened=opened)


def test_how_far_a_store_has_got_is_news_once_and_only_from_its_present_process():
    met = Acquaintance(None)
    one, two = hello(b"store", b"one", 5), hello(b"store", b"two", 7)
    assert met.hear(one.process, 3, 9) == []
    assert met.meet(one) == [PeerStoreChanged(0, b"one", 5, b"store", b"")]
    assert met.hear(one.process, 3, 9) == [LowAdvanced(3, b"one", 9, b"store")]
    assert met.hear(one.process, 2, 9) == []
    assert met.meet(one) == []
    assert met.meet(two) == [PeerStoreChanged(3, b"two", 7, b"store", b"store")]
    assert met.hear(one.process, 30, 90) == []
    assert met.known == PeerKnowledge(b"store", 3, b"two", 7)


def test_a_process_is_former_as_long_as_it_is_remembered_and_the_present_one_is_here():
    met = Acquaintance(None)
    first = hello(b"store 0", b"boot")
    processes = [first, *(hello(f"store {n}".encode(), b"boot") for n in range(1, FORMER + 2))]
    for process in processes[:-1]:
        met.meet(process)
    here = {processes[-2].process}
    assert met.is_former(first, here)
    assert not met.is_former(first, set())
    assert not met.is_former(processes[-1], here)
    met.meet(processes[-1])
    assert not met.is_former(first, {processes[-1].process})


def test_a_late_hello_of_a_former_process_changes_nothing():
    world = hundred_registers()
    world.disconnect(1)
    world.connect()
    world.connect()
    former = Hello("cloud", b"store-cloud", b"former boot", 1)
    session = world.edge.session
    session.receive_control(3, world.cloud.session.next_control(3), world.now)
    known = session.known
    assert session.receive_control(2, encode_hello(former), world.now) == []
    assert session.known == known


def test_what_a_former_process_acknowledged_late_does_not_count():
    world = hundred_registers()
    world.edge.write(key("d1"), "lost with the backup")
    frame = world.edge.session.next_frame(1, ROOM, world.now)
    world.cloud.take(1, world.cloud.session.receive_state(1, frame, world.now), world.now, world.edge)
    world.cloud.commit()
    late = world.cloud.session.next_frame(1, ROOM, world.now)
    world.connect()
    session = world.edge.session
    restored = Hello("cloud", b"store-cloud", b"restored", 1, b"store-edge", 0, world.edge.boot_id, 0)
    session.receive_control(2, encode_hello(restored), world.now)
    assert session.receive_state(1, late, world.now) == []
    assert len(session.outbox) == 1


def test_what_a_former_process_told_late_is_not_taken_when_the_present_one_was_met():
    """Its store may have been put back since, and the present one was asked for what it lacks already."""
    world = hundred_registers()
    world.edge.write(key("d1"), "lost with the backup")
    late = world.edge.session.next_frame(1, ROOM, world.now)
    session = world.cloud.session
    session.attach(2, datagrams=ROOM, now=world.now, eager=False)
    session.receive_control(2, encode_hello(Hello("edge", b"store-edge", b"boot 100", 1, opened=100)), world.now)
    assert session.receive_state(1, late, world.now) == []
    session.detach(2)
    assert of_kind(session.receive_state(1, late, world.now), RegistersReceived), "nobody else is there"


def test_low_before_the_hello_is_not_believed():
    world = hundred_registers()
    world.disconnect(1)
    world.connect()
    for lane in world.edge.session._lanes.values():
        lane.low_holds = True
    world.edge.write(key("d1"), 1)
    frame = world.edge.session.next_frame(2, ROOM, world.now)
    assert of_kind(world.cloud.session.receive_state(2, frame, world.now), LowAdvanced) == []


def opening(world, number):
    """The cloud's hello as its process number `number` would say it."""
    return encode_hello(Hello("cloud", b"store-cloud", f"boot {number}".encode(), 1, opened=number))


def test_a_late_link_of_a_process_that_has_ended_is_not_sent_to():
    world = hundred_registers()
    world.disconnect(1)
    session = world.edge.session
    session.attach(2, datagrams=ROOM, now=world.now, eager=False)
    session.receive_control(2, opening(world, 200), world.now)
    known = session.known
    session.attach(3, datagrams=ROOM, now=world.now, eager=False)
    assert session.active == 2, "nobody has introduced himself on the other yet"
    assert session.receive_control(3, opening(world, 100), world.now) == [FormerProcess()]
    assert (session.known, session.active) == (known, 2)
    assert session.receive_control(3, encode_control("claim", {}), world.now) == [], "nor is anything taken from it"
    session.attach(4, datagrams=ROOM, now=world.now, eager=False)
    assert session.receive_control(4, opening(world, 300), world.now) != [FormerProcess()]
    assert session.active == 4
    assert session.known.boot_id == b"boot 300"


def test_a_late_link_of_a_process_that_was_here_is_known_though_its_store_was_another():
    world = hundred_registers()
    world.disconnect(1)
    session = world.edge.session
    first, second = (Hello("cloud", store, store, 1) for store in (b"lost", b"new"))
    for link, hello in ((2, first), (3, second)):
        session.attach(link, datagrams=ROOM, now=world.now, eager=False)
        assert session.receive_control(link, encode_hello(hello), world.now) != [FormerProcess()]
    session.attach(4, datagrams=ROOM, now=world.now, eager=False)
    assert session.receive_control(4, encode_hello(first), world.now) == [FormerProcess()]
    session.detach(3)
    session.attach(5, datagrams=ROOM, now=world.now, eager=False)
    assert session.receive_control(5, encode_hello(first), world.now) != [FormerProcess()], "who else is there?"
