"""The link port in memory keeps the port's contract, in hand-driven time."""

from __future__ import annotations

import pytest

from twingateway.errors import LinkError
from twingateway.ports.hand_clock import HandClock
from twingateway.ports.memory_link import memory_pair
from twingateway.ports.memory_path import MemoryPath


class End:
    """A handler that writes down what it hears."""

    def __init__(self, source=None):
        self.link = None
        self.calls = []
        self.heard = []
        self.source = source
        self.inside = False

    def connected(self, link, now):
        assert not self.inside
        self.link = link
        self.calls.append(("connected", now))

    def stream_data(self, stream, data, end, now):
        assert not self.inside
        self.calls.append(("stream", now, stream, data, end))
        self.heard.append(data)

    def datagram(self, data, now):
        self.calls.append(("datagram", now, data))
        self.heard.append(data)

    def next_datagram(self, room, now):
        assert not self.inside
        return self.source(room, now) if self.source else None

    def timer(self, now):
        self.calls.append(("timer", now))

    def closed(self, error, now):
        self.calls.append(("closed", now, error))

    def kinds(self, kind):
        return [call for call in self.calls if call[0] == kind]


def joined(path=None, **sources):
    clock = HandClock()
    client, server = End(sources.get("client")), End(sources.get("server"))
    memory_pair(client, server, scheduler=clock, path=path)
    clock.advance(2 * path.delay if path else 0.0)
    return clock, client, server


def test_both_ends_are_connected_before_anything_else_and_streams_arrive_in_order():
    clock, client, server = joined(MemoryPath(delay=0.05))
    control = client.link.open_stream()
    client.inside = server.inside = True  # no handler may be called from inside a method
    for piece in (b"a", b"b", b"c"):
        client.link.write(control, piece)
    assert client.link.unsent(control) == 3
    client.inside = server.inside = False
    clock.advance(0.05)
    assert server.heard == [b"a", b"b", b"c"]
    assert client.link.unsent(control) == 3, "not acknowledged before a round trip"
    clock.advance(0.05)
    assert client.link.unsent(control) == 0
    assert server.calls[0][0] == "connected"


def test_stream_ids_are_quics():
    _, client, server = joined()
    assert [client.link.open_stream() for _ in range(3)] == [0, 4, 8]
    assert [server.link.open_stream() for _ in range(2)] == [1, 5]


def test_a_lossy_path_delays_streams_and_loses_datagrams_only():
    offered = [bytes([number]) for number in range(100)]
    path = MemoryPath(delay=0.01, loss=0.3)
    clock, client, server = joined(path, client=lambda room, now: offered.pop(0) if offered else None)
    control = client.link.open_stream()
    for number in range(100):
        client.link.write(control, b"s%d " % number)
    clock.advance(30)
    streamed = b"".join(call[3] for call in server.kinds("stream"))
    assert streamed == b"".join(b"s%d " % number for number in range(100))
    assert 40 < len(server.kinds("datagram")) < 95
    assert client.link.facts().packets_lost > 10


def test_datagrams_are_pulled_within_the_window_and_no_more_are_asked_for_than_it_holds():
    asked = []

    def endless(room, now):
        asked.append((room, now))
        return b"x" * room

    path = MemoryPath(delay=0.05, window=4, datagram_room=100)
    clock, _, server = joined(path, client=endless)
    assert len(asked) == 4
    clock.advance(0.1)
    assert len(asked) == 8
    assert {room for room, _ in asked} == {100}
    assert len(server.kinds("datagram")) == 4


def test_a_datagram_that_is_too_large_ends_the_link():
    clock, client, _ = joined(MemoryPath(datagram_room=10), client=lambda room, now: b"x" * (room + 1))
    clock.advance(0.01)
    assert "11 bytes where 10 fit" in client.kinds("closed")[0][2].message


def test_a_cut_path_holds_streams_until_it_is_whole_again():
    path = MemoryPath(delay=0.01)
    clock, client, server = joined(path)
    control = client.link.open_stream()
    path.cut = True
    client.link.write(control, b"later")
    clock.advance(5)
    assert server.heard == []
    path.cut = False
    clock.advance(0.2)
    assert server.heard == [b"later"]


def test_a_path_can_be_cut_in_one_direction():
    path = MemoryPath(delay=0.01, cut_up=True)
    clock, client, server = joined(path)
    client.link.write(0, b"unheard")
    server.link.write(0, b"heard")
    clock.advance(1.0)
    assert (client.heard, server.heard) == ([b"heard"], [])
    assert server.link.unsent(0), "the acknowledgement does not come back"
    path.cut_up = False
    clock.advance(1.0)
    assert server.heard == [b"unheard"]
    assert not server.link.unsent(0)


def test_a_stream_stays_in_order_when_its_path_becomes_shorter():
    path = MemoryPath(delay=0.3)
    clock, client, server = joined(path)
    client.link.write(0, b"first")
    clock.advance(0.1)
    path.delay = 0.01
    client.link.write(0, b"second")
    clock.advance(1.0)
    assert server.heard == [b"first", b"second"]


def test_datagrams_can_come_twice_and_overtake_each_other():
    waiting = [str(number).encode() for number in range(50)]
    path = MemoryPath(delay=0.01, jitter=0.1, duplication=0.5)
    clock, client, server = joined(path, client=lambda room, now: waiting.pop(0) if waiting else None)
    client.link.wake()
    clock.advance(2.0)
    came = [int(data) for data in server.heard]
    assert set(came) == set(range(50))
    assert len(came) > 60
    assert came != sorted(came)


def test_a_path_cut_for_longer_than_the_idle_timeout_ends_both_ends_with_an_error():
    path = MemoryPath(idle_timeout=10)
    clock, client, server = joined(path)
    clock.advance(25)
    assert not client.kinds("closed"), "an idle link on a whole path stays up"
    path.cut = True
    clock.advance(12)
    for end in (client, server):
        assert isinstance(end.kinds("closed")[0][2], LinkError)


def test_the_earliest_time_asked_for_wins_and_comes_once():
    clock, client, _ = joined()
    client.link.wake(2.0)
    client.link.wake(1.0)
    client.link.wake(3.0)
    clock.advance(5)
    assert client.kinds("timer") == [("timer", 1.0)]


@pytest.mark.parametrize(("code", "orderly"), [(0, True), (7, False)])
def test_close_waits_for_what_is_queued_and_then_tells_both_ends(code, orderly):
    clock, client, server = joined(MemoryPath(delay=0.01))
    control = client.link.open_stream()
    client.link.write(control, b"goodbye")
    client.link.close(code, "enough")
    clock.advance(1)
    assert server.heard == [b"goodbye"]
    assert client.kinds("closed")[0][2] is None
    error = server.kinds("closed")[0][2]
    assert (error is None) is orderly
    calls = len(client.calls)
    client.link.write(control, b"nothing")
    client.link.wake()
    client.link.close()
    clock.advance(5)
    assert len(client.calls) == calls, "nothing comes after closed"


def test_close_gives_up_waiting_after_two_seconds():
    path = MemoryPath(delay=0.01)
    clock, client, _ = joined(path)
    client.link.write(client.link.open_stream(), b"never")
    path.cut = True
    client.link.close()
    clock.advance(1.9)
    assert not client.kinds("closed")
    clock.advance(0.2)
    assert client.kinds("closed")[0][2] is None


def test_a_link_can_break_and_an_end_can_vanish():
    clock, client, server = joined()
    client.link.drop("pulled out")
    clock.advance(0)
    assert [end.kinds("closed")[0][2].message for end in (client, server)] == ["pulled out"] * 2

    clock, client, server = joined(MemoryPath(idle_timeout=10))
    client.link.vanish()
    clock.advance(12)
    assert not client.kinds("closed")
    assert isinstance(server.kinds("closed")[0][2], LinkError)
