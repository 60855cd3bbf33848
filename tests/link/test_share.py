"""What the controller leaves to others at a shared bottleneck, in virtual time."""

from __future__ import annotations

import math

import pytest

from tests.link.shared_path import Bottleneck, Cubic, Ours, shares
from twingateway.link.share import CLEAR, Share

MEGABIT = 125_000


@pytest.mark.parametrize(
    "path",
    [Bottleneck(MEGABIT), Bottleneck(MEGABIT, queue=0.1), Bottleneck(4 * MEGABIT, queue=0.1)],
    ids=["long queue", "short queue", "fast path"],
)
def test_beside_tcp_cubic_both_have_their_part(path):
    ours, cubic = shares(path, [Ours(), Cubic()], warm_up=20, seconds=60)
    assert ours >= 0.3
    assert cubic >= 0.3
    assert ours + cubic > 0.9


def test_two_of_ours_share_the_path():
    first, second = shares(Bottleneck(MEGABIT, queue=0.1), [Ours(), Ours()], warm_up=20, seconds=60)
    assert min(first, second) >= 0.3
    assert first + second > 0.9


def test_alone_there_is_no_limit():
    flow = Ours()
    (share,) = shares(Bottleneck(MEGABIT), [flow], warm_up=5, seconds=20)
    assert share > 0.9
    assert flow.control._share.limit == math.inf


def test_loss_where_no_queue_stands_is_the_paths():
    share = Share(1000)
    for turn in range(20):
        share.acked(turn, 30_000)
        share.lost(turn)
        share.round_over(turn, 0.1, 0.0)
    assert share.limit == math.inf


def test_loss_that_the_path_always_has_is_not_congestion():
    share = Share(1000)
    share.round_over(0, 0.1, 0.0)
    for turn in range(1, 20):
        for lost in range(10):
            (share.lost if lost < 2 else lambda at: share.acked(at, 30_000))(turn)
        share.round_over(turn, 0.3, 0.2)
    assert share.limit == math.inf


def test_the_limit_falls_once_for_what_was_lost_together_and_grows_again():
    share = Share(1000)
    share.round_over(0, 0.1, 0.0)
    share.acked(0.5, 30_000)
    share.lost(0.5)
    share.round_over(1, 0.3, 0.0)
    assert share.limit == 24_000
    share.lost(0.9)
    share.round_over(2, 0.3, 0.0)
    assert share.limit > 24_000


def test_the_limit_ends_with_the_queue():
    share = Share(1000)
    share.round_over(0, 0.1, 0.0)
    share.acked(0.5, 30_000)
    share.lost(0.5)
    share.round_over(1, 0.3, 0.0)
    for turn in range(CLEAR):
        assert share.limit < math.inf
        share.round_over(2 + turn, 0.1, 0.0)
    assert share.limit == math.inf
