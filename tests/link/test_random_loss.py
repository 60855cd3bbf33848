"""The share of packets that a path loses at random, counted by hand."""

from __future__ import annotations

import random

import pytest

from twingateway.link.random_loss import LIMIT, SAMPLE, RandomLoss


def test_it_is_not_believed_before_enough_has_been_seen():
    loss = RandomLoss()
    for _ in range(SAMPLE - 1):
        loss.count(lost=True)
    assert loss.share == 0
    loss.count(lost=True)
    assert loss.share == LIMIT


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_it_comes_to_the_paths_own(share):
    chance = random.Random(1)
    loss = RandomLoss()
    seen = []
    for _ in range(5000):
        loss.count(lost=chance.random() < share)
        seen.append(loss.share)
    assert sum(seen[500:]) / len(seen[500:]) == pytest.approx(share, abs=0.01)


def test_it_forgets_what_a_path_was_like():
    loss = RandomLoss()
    for _ in range(500):
        loss.count(lost=True)
    for _ in range(1000):
        loss.count(lost=False)
    assert loss.share < 0.001
