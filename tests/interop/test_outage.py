"""When the cloud has caught up, and how old its picture is meanwhile."""

from __future__ import annotations

import pytest

from interop.outage import ages, caught_up_at

#: Numbers 3 to 8 of two devices, one a second from 0 on: device 0 has 3, 5 and 7, device 1 has 4, 6 and 8.
SENT = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_it_has_caught_up_when_every_device_is_as_new_as_at_the_links_return():
    numbered = list(enumerate(SENT, 3))
    assert caught_up_at(numbered, [(5, 3.5), (6, 3.7), (7, 4.2)], 2, back=3.2) == 3.7
    assert caught_up_at(numbered, [(7, 4.2), (8, 5.2)], 2, back=3.2) == 5.2, "a newer one does as well"
    assert caught_up_at(numbered, [(5, 3.5)], 2, back=3.2) is None


def test_the_picture_is_as_old_as_the_oldest_change_that_is_missing_in_it():
    seen = [(3, 0.5), (7, 4.5), (8, 5.5)]
    shown = [
        0.2,  # number 3, not seen yet
        0.0,  # 3 was seen, 4 is not made yet
        0.5,  # 4
        3.4,  # 4 still
        3.6,  # 7 was seen, which says nothing of device 1
        0.0,  # 8 as well
    ]
    assert ages(SENT, 3, seen, 2, [0.2, 0.7, 1.5, 4.4, 4.6, 6.0]) == pytest.approx(shown)
