"""What is taken for a queue, at its two bounds."""

from __future__ import annotations

import pytest

from twingateway.link.queueing import STANDS, TIGHT, is_queued


@pytest.mark.parametrize(
    ("shortest", "own", "tight", "stands"),
    [
        (0.112, 0.1, False, False),
        (0.125, 0.1, True, False),
        (0.130, 0.1, True, True),
        (0.004, 0.001, False, True),
    ],
    ids=["jitter", "little", "much", "short paths: a busy machine adds milliseconds"],
)
def test_a_queue_is_where_even_the_quickest_packets_wait(shortest, own, tight, stands):
    assert is_queued(shortest, own, TIGHT) is tight
    assert is_queued(shortest, own, STANDS) is stands


def test_the_paths_own_round_trip_is_no_queue():
    assert not any(is_queued(0.05, 0.05, bound) for bound in (TIGHT, STANDS))
