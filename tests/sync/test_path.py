"""What the path's figures lead to."""

import random

import pytest

from twingateway.sync.path import FLUSH, HASTE, Path, copies_for


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


def weather(loss: float, burst: float, frames: int = 40_000) -> list[bool]:
    """Which frames get lost, in runs of so many on average."""
    chance, bad, lost = random.Random(1), False, []
    for _ in range(frames):
        bad = chance.random() < (1 - 1 / burst if bad else loss / (burst * (1 - loss)))
        lost.append(bad)
    return lost


def all_lost(path: Path, lost: list[bool]) -> float:
    """Share of registers of which every copy gets lost, one register a frame."""
    apart = round(path.gap / path.every)
    last = apart * (path.copies - 1)
    return sum(all(lost[at : at + last + 1 : apart]) for at in range(len(lost) - last)) / (len(lost) - last)


def knowing(lost: list[bool]) -> Path:
    """One that has learnt what its path is like."""
    path = Path()
    for one in lost:
        path.resolved(one)
    path.sample(0.1)
    return path


def test_copies_are_so_far_apart_that_bursts_seldom_take_them_all():
    lost = weather(0.1, 8)
    assert all_lost(knowing(lost), lost) < 0.008


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1, 0.2, 0.3])
def test_where_losses_are_independent_copies_follow_frame_by_frame(loss):
    path = knowing(weather(loss, 1 / (1 - loss)))
    assert path.gap == path.every


@pytest.mark.parametrize("loss", [0.5, 0.9, 0.999])
def test_however_long_bursts_are_the_last_copy_goes_before_the_register_counts_as_lost(loss):
    path = knowing(weather(loss, 1000))
    assert path.gap * (path.copies - 1) < path.resend_after


@pytest.mark.parametrize(
    ("loss", "roomy", "every"), [(0.0, True, FLUSH), (0.05, True, HASTE), (0.05, False, FLUSH), (1.0, True, HASTE)]
)
def test_frames_go_more_often_where_they_get_lost_and_there_is_room(loss, roomy, every):
    path = Path()
    path.loss = loss
    path.pace(roomy=roomy)
    assert path.every == every


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
