"""What the path's figures lead to."""

import pytest

from twingateway.sync.path import FLUSH, Path, copies_for


@pytest.mark.parametrize(
    ("loss", "copies"),
    [(0.0, 1), (0.0009, 1), (0.002, 2), (0.01, 2), (0.05, 3), (0.11, 4), (0.2, 5), (0.3, 5), (0.9, 5), (1.0, 5)],
)
def test_copies_are_the_fewest_that_lose_less_than_one_in_a_thousand(loss, copies):
    assert copies_for(loss) == copies


def test_loss_settles_at_what_is_lost():
    path = Path()
    for number in range(2000):
        path.resolved(number % 5 == 0)
    assert path.loss == pytest.approx(0.2, abs=0.02)
    assert path.burst == pytest.approx(1.0)
    assert path.copies == 5


def test_copies_are_spread_over_twice_the_usual_burst():
    path = Path()
    for number in range(4000):
        path.resolved(number % 80 < 8)
    assert path.burst == pytest.approx(8, abs=0.1)
    assert path.gap * (path.copies - 1) >= 15 * FLUSH


def test_resending_follows_the_rtt():
    path = Path()
    unknown = path.resend_after
    for _ in range(50):
        path.sample(0.1)
    assert 0.125 <= path.resend_after <= 0.135 < unknown


def test_before_loss_is_known_everything_goes_twice():
    path = Path()
    assert path.copies == 2
    for _ in range(100):
        path.resolved(False)
    assert path.copies == 1


def test_the_next_link_begins_with_what_was_learnt_and_soon_learns_anew():
    former = Path()
    for number in range(2000):
        former.resolved(number % 5 == 0)
    path = Path(former)
    assert path.copies == 5
    for _ in range(400):
        path.resolved(False)
    assert path.copies == 2
