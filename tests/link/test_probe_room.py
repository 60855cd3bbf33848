"""The link's rule for silence and the state lane's fit together."""

from __future__ import annotations

from twingateway.link.connection import PROBE_ROOM
from twingateway.mqtt.lanes import STATE_TOPIC, overhead
from twingateway.sync.lane import _MIN_ROOM


def test_what_may_leave_beyond_a_full_window_is_room_for_a_probe():
    assert PROBE_ROOM - overhead(STATE_TOPIC) >= _MIN_ROOM
