"""Whose turn it is on a link that is one byte stream."""

from __future__ import annotations

from twingateway.link.outgoing import Outgoing


def drain(outgoing: Outgoing) -> list[tuple[int, bytes]]:
    taken = []
    while outgoing:
        taken.append(outgoing.take())
    return taken


def test_the_first_packet_is_the_control_streams_and_then_state_goes_first():
    outgoing = Outgoing()
    for stream in (8, 4, 0):
        outgoing.put(stream, b"%d" % stream)
    assert drain(outgoing) == [(0, b"0"), (4, b"4"), (8, b"8")]
    for stream in (8, 0, 4, 4):
        outgoing.put(stream, b"%d" % stream)
    assert [stream for stream, _ in drain(outgoing)] == [0, 8, 4, 4], (
        "the fourth packet of all is the last one's turn"
    )


def test_an_alarm_is_behind_no_more_than_what_is_being_sent():
    outgoing = Outgoing()
    for number in range(8):
        outgoing.put(4, b"s%d" % number)
        outgoing.put(16, b"h%d" % number)
    outgoing.take()
    outgoing.put(8, b"alarm")
    assert b"alarm" in [outgoing.take()[1] for _ in range(2)]


def test_alarms_without_end_leave_state_and_bulk_their_turns():
    outgoing = Outgoing()
    for number in range(40):
        for stream in (4, 8, 16):
            outgoing.put(stream, b"%d" % number)
    taken = [outgoing.take()[0] for _ in range(40)]
    assert (taken.count(8), taken.count(4), taken.count(16)) == (20, 10, 10)


def test_nobody_starves_and_each_stream_keeps_its_order():
    outgoing = Outgoing()
    for number in range(8):
        outgoing.put(0, b"c%d" % number)
        outgoing.put(8, b"j%d" % number)
    for number in range(100):
        outgoing.put(4, b"s%d" % number)
    taken = drain(outgoing)
    first = [stream for stream, _ in taken[:32]]
    assert first.count(8) == 8
    assert first.count(4) >= 12
    assert first.count(0) >= 7
    for stream, letter in ((0, b"c"), (4, b"s"), (8, b"j")):
        pieces = [piece for other, piece in taken if other == stream]
        assert pieces == [b"%s%d" % (letter, number) for number in range(len(pieces))]


def test_sizes_are_what_waits():
    outgoing = Outgoing()
    outgoing.put(4, bytes(10))
    outgoing.put(4, bytes(5))
    assert (outgoing.size(4), outgoing.size(0)) == (15, 0)
    outgoing.take()
    assert outgoing.size(4) == 5
    outgoing.clear()
    assert not outgoing
