"""The streams of one QUIC connection: what is written to them, what of that the peer still lacks, and which are not
served here.
"""

from __future__ import annotations

import structlog

from twingateway.errors import LinkError
from twingateway.link.connection import PulledConnection

#: The error code that says that a stream is not served here (EMQ's draft of MQTT over QUIC, section 12).
STREAM_REFUSED = 0xBE

_log = structlog.get_logger(__name__)


class QuicStreams:
    """Bidirectional ones. What is written to one that the peer has yet to open waits until it has."""

    def __init__(self, connection: PulledConnection) -> None:
        self._connection = connection
        self._unopened: dict[int, bytearray] = {}
        self._refused: set[int] = set()

    @property
    def next(self) -> int:
        """The one that would be opened now."""
        return self._connection.get_next_available_stream_id()

    def open(self) -> int:
        """Raises LinkError when the peer lets us open no more."""
        stream, limit = self.next, self._connection.peer_stream_limit
        if stream // 4 >= limit:
            raise LinkError(f"the peer lets us open {limit} streams, and all are in use")
        self._connection.send_stream_data(stream, b"")
        return stream

    def write(self, stream: int, data: bytes) -> bool:
        """Whether anything may have to be sent now."""
        if self._connection.is_unopened(stream):
            self._unopened.setdefault(stream, bytearray()).extend(data)
            return False
        try:
            self._connection.send_stream_data(stream, data)
        except (RuntimeError, ValueError) as problem:  # the peer stopped the stream, or it never was
            _log.debug("stream data dropped", stream=stream, size=len(data), problem=str(problem))
        return True

    def write_opened(self) -> None:
        """Write what waited for the peer to open a stream."""
        for stream in [stream for stream in self._unopened if not self._connection.is_unopened(stream)]:
            self.write(stream, bytes(self._unopened.pop(stream)))

    def unsent(self, stream: int) -> int:
        """Bytes that the peer has not acknowledged."""
        known = self._connection._streams.get(stream)
        if known is None:
            return len(self._unopened.get(stream, b""))
        return known.sender._buffer_stop - known.sender._buffer_start

    @property
    def are_acknowledged(self) -> bool:
        """Whether the peer has everything that was written to a stream that is open."""
        return not any(map(self.unsent, self._connection._streams))

    def waiting(self, stream: int) -> int:
        """Bytes that are to be sent, for the first time or again."""
        known = self._connection._streams.get(stream)
        return 0 if known is None else sum(map(len, known.sender._pending))

    def refuse(self, stream: int) -> None:
        """Neither read it nor write to it; tell the peer."""
        self._refused.add(stream)
        try:
            self._connection.stop_stream(stream, STREAM_REFUSED)
            self._connection.reset_stream(stream, STREAM_REFUSED)
        except (AssertionError, RuntimeError, ValueError) as problem:  # the peer ended it already
            _log.debug("stream not refused", stream=stream, problem=repr(problem))

    def is_refused(self, stream: int) -> bool:
        return stream in self._refused
