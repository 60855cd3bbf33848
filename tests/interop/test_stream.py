"""What the contender of one plain stream makes of what it is sent."""

from __future__ import annotations

from interop import mqtt311
from interop.stream import Values


def test_values_are_found_however_the_stream_is_cut():
    sent = b"".join(mqtt311.publish(f"d{n % 7}/value", b"%d" % n, n) for n in range(1, 300))
    for size in (1, 7, len(sent)):
        values = Values()
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert [value for piece in pieces for value in values.take(piece)] == list(range(1, 300))
