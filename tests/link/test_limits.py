"""What a peer can make us hold."""

from __future__ import annotations

import pytest
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame
from aioquic.quic.stream import FinalSizeError, QuicStreamReceiver
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.link.simulated_path import controlled
from twingateway.link.limits import (
    CONNECTION_WINDOW,
    MAX_RANGES,
    PEER_STREAMS,
    STREAM_WINDOW,
    SparseReceiver,
    window_end,
)

TEXT = bytes(range(200))


def frame(offset: int, data: bytes, fin: bool = False) -> QuicStreamFrame:
    return QuicStreamFrame(offset=offset, data=data, fin=fin)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 60)), max_size=40), st.randoms())
def test_any_split_order_and_repetition_gives_the_same_bytes_as_aioquics_receiver(pieces, random):
    frames = [(start, min(start + size, 200)) for start, size in pieces]
    frames += [(start, start + 10) for start in range(0, 200, 10)]
    random.shuffle(frames)
    ours, theirs = SparseReceiver(0), QuicStreamReceiver(0, readable=True)
    got = [bytearray(), bytearray()]
    ended = [False, False]
    for start, end in frames:
        for index, receiver in enumerate((ours, theirs)):
            event = receiver.handle_frame(frame(start, TEXT[start:end], fin=end == 200))
            if event is not None:
                got[index] += event.data
                ended[index] |= event.end_stream
        assert got[0] == got[1]
        assert ours.starting_offset() == theirs.starting_offset()
        assert ours.highest_offset == theirs.highest_offset
    assert bytes(got[0]) == TEXT
    assert ended == [True, True]
    assert ours.is_finished
    assert ours.held == 0


def test_a_byte_far_ahead_costs_one_byte():
    receiver = SparseReceiver(0)
    assert receiver.handle_frame(frame(1 << 40, b"x")) is None
    assert receiver.held == 1


def test_the_number_of_holes_is_bounded():
    receiver = SparseReceiver(0)
    for hole in range(MAX_RANGES):
        receiver.handle_frame(frame(2 * hole + 1, b"x"))
    with pytest.raises(QuicConnectionError, match="too many holes"):
        receiver.handle_frame(frame(2 * MAX_RANGES + 1, b"x"))
    receiver.handle_frame(frame(2, b"x"))
    assert receiver.held == MAX_RANGES + 1, "closing a hole is always possible"


@pytest.mark.parametrize(
    "frames",
    [
        [frame(0, b"ab", fin=True), frame(2, b"c")],
        [frame(0, b"ab", fin=True), frame(0, b"a", fin=True)],
        [frame(0, b"abc"), frame(0, b"ab", fin=True)],
    ],
)
def test_contradicting_final_sizes_are_refused(frames):
    receiver = SparseReceiver(0)
    receiver.handle_frame(frames[0])
    with pytest.raises(FinalSizeError):
        receiver.handle_frame(frames[1])


def test_a_reset_gives_up_what_waited():
    receiver = SparseReceiver(0)
    receiver.handle_frame(frame(5, b"abc"))
    assert receiver.handle_reset(final_size=8).error_code == QuicErrorCode.NO_ERROR
    assert receiver.held == 0
    assert receiver.handle_frame(frame(0, b"late")) is None


def test_the_window_moves_in_steps_and_is_never_less_than_half_open():
    window = 1000
    ends = {window_end(consumed, window) for consumed in range(10_000)}
    assert len(ends) == 20
    assert all(500 < window_end(consumed, window) - consumed <= 1000 for consumed in range(10_000))


@pytest.fixture
def simulation(server_files, authority):
    simulation = controlled(server_files, authority.file, rate=12_500_000, delay=0.01)
    simulation.run(1)
    return simulation


def test_bulk_streams_pass_within_windows_that_do_not_grow(simulation):
    size = 5 << 20
    for stream in (0, 4):
        simulation.client.send_stream_data(stream, bytes(size))
    granted = []

    def look(now):
        server = simulation.server
        granted.append(server._local_max_data.value - server._local_max_data.used)
        granted.extend(s.max_stream_data_local - s.receiver.starting_offset() for s in server._streams.values())

    simulation.run(6, look)
    assert simulation.received[simulation.server] == 2 * size
    assert max(granted) <= CONNECTION_WINDOW


def terminated(simulation) -> ConnectionTerminated | None:
    closed = [event for _, _, event in simulation.heard if isinstance(event, ConnectionTerminated)]
    return closed[0] if closed else None


def test_a_peer_that_sends_one_byte_far_ahead_makes_us_hold_one_byte(simulation):
    simulation.client.send_stream_data(0, b"a")
    simulation.run(2)
    sender = simulation.client._streams[0].sender
    sender._buffer_start = sender._buffer_stop = STREAM_WINDOW - 1
    sender.write(b"z")
    simulation.run(3)
    receiver = simulation.server._streams[0].receiver
    assert receiver.highest_offset == STREAM_WINDOW
    assert simulation.server.held == 1
    assert terminated(simulation) is None


def test_data_beyond_the_window_ends_the_connection(simulation):
    simulation.client.send_stream_data(0, b"a")
    simulation.run(2)
    stream = simulation.client._streams[0]
    stream.sender._buffer_start = stream.sender._buffer_stop = STREAM_WINDOW
    stream.max_stream_data_remote = simulation.client._remote_max_data = 1 << 40
    stream.sender.write(b"z")
    simulation.run(3)
    assert terminated(simulation).error_code == QuicErrorCode.FLOW_CONTROL_ERROR


def test_streams_are_granted_as_emqx_clients_need_them_and_no_more(simulation):
    assert PEER_STREAMS >= 10
    assert simulation.client.peer_stream_limit == PEER_STREAMS
    for number in range(PEER_STREAMS + 1):
        simulation.client.send_stream_data(4 * number, b"x")
    simulation.client.send_stream_data(2, b"unidirectional")
    simulation.run(3)
    streams = [event.stream_id for _, _, event in simulation.heard if isinstance(event, StreamDataReceived)]
    assert sorted(streams) == [4 * number for number in range(PEER_STREAMS)]
