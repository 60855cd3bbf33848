"""When a path counts as having room to spare, fed by hand."""

from __future__ import annotations

from twingateway.link.spare_room import LASTING, LATEST, SOONEST, SpareRoom


def test_room_is_there_until_something_has_to_wait_and_again_a_second_later():
    room = SpareRoom()
    assert room.is_there(0.0)
    room.waited(10.0)
    assert not room.is_there(10.9)
    assert room.is_there(10.0 + SOONEST)
    room.waited(10.5)
    assert not room.is_there(11.4)


def tries(room: SpareRoom, lasts: list[float], now: float = 1000.0) -> list[float]:
    """How long room did not come, again and again, where it lasts so many seconds each time it is there."""
    waits = []
    room.waited(now)
    for each in lasts:
        began = now
        while not room.is_there(now):
            now += 0.25
        waits.append(now - began)
        now += each
        room.waited(now)
    return waits


def test_room_that_is_gone_as_soon_as_it_is_used_is_tried_ever_less_often():
    assert tries(SpareRoom(), [0.2] * 9) == [1, 2, 4, 8, 16, 32, LATEST, LATEST, LATEST]


def test_room_that_lasts_is_taken_for_room_again():
    assert tries(SpareRoom(), [0.2, 0.2, 0.2, LASTING, 0.2]) == [1, 2, 4, 8, SOONEST]
