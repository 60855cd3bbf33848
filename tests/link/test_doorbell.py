"""Rings and their answers."""

from __future__ import annotations

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.packet import pull_quic_header

from twingateway.link import doorbell


def test_twelve_bytes_that_are_a_ring_are_answered_by_as_many_that_are_none() -> None:
    ring = doorbell.ring(b"12345678")
    answer = doorbell.answer_to(ring)
    assert answer is not None
    assert len(answer) == len(ring) == 12
    assert doorbell.answer_to(answer) is None
    assert doorbell.answers(answer, b"12345678")
    assert not doorbell.answers(answer, b"12345679")
    for other in (b"", ring[:-1], ring + b"0", b"\x0ftg?", bytes(12)):
        assert doorbell.answer_to(other) is None
    with pytest.raises(ValueError):
        pull_quic_header(Buffer(data=ring), host_cid_length=8)
