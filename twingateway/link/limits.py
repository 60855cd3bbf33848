"""What a peer may make us hold: receive windows, stream counts and reassembly of one QUIC connection.

aioquic doubles its windows on every byte *received* and allocates a stream's buffer up to the highest offset
*seen*, so a peer that sends fast, or one byte far ahead, decides how much memory we use. Here a window slides
behind what has been handed on in order, a stream holds only bytes that have arrived, and the number of holes in
it is bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from aioquic.quic.connection import Limit, QuicConnection, QuicConnectionError
from aioquic.quic.events import StreamDataReceived, StreamReset
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import FinalSizeError, QuicStream, QuicStreamReceiver

#: Bytes of one stream, and of all streams of a connection, that may wait for a hole before them to be filled.
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 2 << 20

#: Bidirectional streams a peer may have open at a time. MQTT has no use for unidirectional ones.
PEER_STREAMS = 16

#: Separate ranges of one stream that may wait; a full window of full packets with every other one lost has fewer.
MAX_RANGES = 1024

#: Room asked of the packet for a MAX_STREAM_DATA frame: its type and two integers of at most eight bytes.
_LIMIT_FRAME_SIZE = 17


class SparseReceiver(QuicStreamReceiver):
    """The receive part of a stream, holding what has arrived and nothing for what has not."""

    def __init__(self, stream_id: int | None) -> None:
        super().__init__(stream_id=stream_id, readable=True)
        self._starts: list[int] = []
        self._waiting: dict[int, bytearray] = {}

    def handle_frame(self, frame: QuicStreamFrame) -> StreamDataReceived | None:
        self._check_size(frame)
        if self.is_finished:
            return None
        if frame.offset == self._buffer_start and not self._starts:
            data = bytes(frame.data)
        else:
            self._keep(frame.offset, frame.data)
            data = self._take()
        self._buffer_start += len(data)
        self.is_finished = self._buffer_start == self._final_size
        if not data and not self.is_finished:
            return None
        assert self._stream_id is not None or not self.is_finished
        return StreamDataReceived(data=data, end_stream=self.is_finished, stream_id=self._stream_id or 0)

    def handle_reset(self, *, final_size: int, error_code: int = QuicErrorCode.NO_ERROR) -> StreamReset | None:
        event = super().handle_reset(final_size=final_size, error_code=error_code)
        self._starts.clear()
        self._waiting.clear()
        return event

    @property
    def held(self) -> int:
        """Bytes that wait for a hole before them to be filled."""
        return sum(map(len, self._waiting.values()))

    def _check_size(self, frame: QuicStreamFrame) -> None:
        end = frame.offset + len(frame.data)
        if self._final_size is not None and (end > self._final_size or (frame.fin and end != self._final_size)):
            raise FinalSizeError("stream data contradicts the stream's final size")
        if frame.fin:
            if end < self.highest_offset:
                raise FinalSizeError("the final size is below data that has already arrived")
            self._final_size = end
        self.highest_offset = max(self.highest_offset, end)

    def _keep(self, offset: int, data: bytes) -> None:
        """Store what of `data` is new, joined with the ranges that it touches."""
        start, end = max(offset, self._buffer_start), offset + len(data)
        before = bisect_right(self._starts, start) - 1
        if before >= 0:
            start = max(start, self._starts[before] + len(self._waiting[self._starts[before]]))
        if start >= end:
            return
        fresh = bytearray(data[start - offset :])
        while before + 1 < len(self._starts) and self._starts[before + 1] <= end:
            first = self._starts.pop(before + 1)
            fresh += self._waiting.pop(first)[end - first :]
            end = start + len(fresh)
        if before >= 0 and self._starts[before] + len(self._waiting[self._starts[before]]) == start:
            self._waiting[self._starts[before]] += fresh
            return
        if len(self._starts) >= MAX_RANGES:
            raise QuicConnectionError(
                error_code=QuicErrorCode.INTERNAL_ERROR,
                frame_type=QuicFrameType.STREAM_BASE,
                reason_phrase="too many holes in a stream",
            )
        self._starts.insert(before + 1, start)
        self._waiting[start] = fresh

    def _take(self) -> bytes:
        """Remove and return what is now in order."""
        if not self._starts or self._starts[0] != self._buffer_start:
            return b""
        return bytes(self._waiting.pop(self._starts.pop(0)))


def window_end(consumed: int, window: int) -> int:
    """The offset that a peer may send up to, given what was consumed: it moves in steps of half a window, so that
    credit is announced now and then and not with every packet."""
    step = window // 2
    return consumed // step * step + window


class SlidingLimit(Limit):
    """The connection's data limit. aioquic's own attempts to raise it (by doubling) have no effect."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._end = window
        super().__init__(frame_type=QuicFrameType.MAX_DATA, name="max_data", value=window)

    @property
    def value(self) -> int:
        return self._end

    @value.setter
    def value(self, doubled: int) -> None:
        del doubled

    def slide(self, consumed: int) -> None:
        self._end = max(self._end, window_end(consumed, self._window))


class LimitedConnection(QuicConnection):
    """A QUIC connection whose memory for a peer's data is bounded by the constants above."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        #: Streams whose window does not slide for now.
        self.paused: set[int] = set()
        self._data_limit = SlidingLimit(CONNECTION_WINDOW)
        self._local_max_data = self._data_limit
        self._local_max_stream_data_bidi_local = STREAM_WINDOW
        self._local_max_stream_data_bidi_remote = STREAM_WINDOW
        for limit, streams in ((self._local_max_streams_bidi, PEER_STREAMS), (self._local_max_streams_uni, 0)):
            limit.value = limit.sent = streams

    @property
    def held(self) -> int:
        """Bytes of stream data that wait for a hole before them to be filled."""
        return sum(s.receiver.held for s in self._streams.values() if isinstance(s.receiver, SparseReceiver))

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        for stream in self._crypto_streams.values():
            stream.receiver = SparseReceiver(None)

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        known = stream_id in self._streams
        stream = super()._get_or_create_stream(frame_type, stream_id)
        if not known:
            self._make_sparse()
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        known = stream_id in self._streams
        stream = super()._get_or_create_stream_for_send(stream_id)
        if not known:
            self._make_sparse()
        return stream

    def _make_sparse(self) -> None:
        """Give every new stream (opening one opens those below it, too) a receiver of ours."""
        for stream in self._streams.values():
            if not isinstance(stream.receiver, SparseReceiver) and not stream.receiver.is_finished:
                stream.receiver = SparseReceiver(stream.stream_id)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        waiting = sum(
            stream.receiver.highest_offset - stream.receiver.starting_offset()
            for stream in self._streams.values()
            if not stream.receiver.is_finished
        )
        self._data_limit.slide(self._data_limit.used - waiting)
        super()._write_connection_limits(builder, space)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        if stream.receiver.is_finished or stream.stream_id in self.paused:
            return
        end = max(stream.max_stream_data_local, window_end(stream.receiver.starting_offset(), STREAM_WINDOW))
        stream.max_stream_data_local = end
        if stream.max_stream_data_local_sent == end:
            return
        frame = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=_LIMIT_FRAME_SIZE,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        frame.push_uint_var(stream.stream_id or 0)
        frame.push_uint_var(end)
        stream.max_stream_data_local_sent = end
