from __future__ import annotations

import pytest

from twingateway.twin.presence import Presence, PresenceState
from twingateway.twin.quality import Quality, Reason, described, quality_of
from twingateway.twin.value import Value

ONLINE = Presence(PresenceState.ONLINE, 1000)
GARBLED: Value = {"flow": {"code": "device-reply-invalid", "message": "flow: 9 is no name", "since": 7}}
REFUSED: Value = {"level": {"value": "99", "rule": "maximum", "message": "level: 99 is above 10", "time": 8}}


def test_while_its_device_is_online_a_value_is_good_unless_something_is_said_of_it() -> None:
    quality = quality_of(ONLINE, GARBLED, REFUSED)
    assert quality.of("speed") is None
    assert quality.of("flow") == Reason("device-reply-invalid", "flow: 9 is no name", 7)
    assert quality.of("level") == Reason("value-refused", "level: 99 is above 10", 8)
    assert quality_of(ONLINE, None, None) == Quality()


@pytest.mark.parametrize(
    ("presence", "reason"),
    [
        (Presence(PresenceState.OFFLINE, 5, "device-timeout", "no answer"), Reason("device-timeout", "no answer", 5)),
        (Presence(PresenceState.STALE, 6, "silent", "nothing was heard"), Reason("silent", "nothing was heard", 6)),
        (Presence(PresenceState.UNREACHABLE, 7, "link-lost", "not heard"), Reason("link-lost", "not heard", 7)),
        (Presence(PresenceState.UNKNOWN), Reason("unknown")),
    ],
)
def test_a_device_that_is_away_takes_all_its_values_with_it(presence: Presence, reason: Reason) -> None:
    assert quality_of(presence, None, None).of("speed") == reason


def test_what_is_bad_in_itself_keeps_its_own_reason() -> None:
    away = Presence(PresenceState.OFFLINE, 5, "device-timeout", "no answer")
    quality = quality_of(away, GARBLED, None)
    assert quality.of("flow") == Reason("device-reply-invalid", "flow: 9 is no name", 7)
    assert quality.to_value() == {
        "quality": "bad",
        "reason": {"code": "device-timeout", "message": "no answer", "since": 5},
        "bad": GARBLED,
    }
    assert described(None) == Quality().to_value() == {"quality": "good"}


@pytest.mark.parametrize("nonsense", [7, "bad", [], {"flow": 3}, {"flow": None}])
def test_what_makes_no_sense_says_nothing(nonsense: Value) -> None:
    assert quality_of(ONLINE, nonsense, nonsense) == Quality()
    entry: Value = {"flow": {"code": 3, "message": [], "since": "now"}}
    assert quality_of(ONLINE, entry, None).of("flow") == Reason("")


def test_what_is_kept_of_a_quality_says_the_same_again() -> None:
    for whole in (None, Reason("device-timeout", "no answer", 5)):
        for bad in ({}, {"flow": Reason("device-refused", "no", 3)}):
            quality = Quality(whole, bad)
            assert Quality.from_value(quality.to_value()) == quality
    for nonsense in (None, 7, "bad", {"reason": 7, "bad": [1]}, {"bad": {"flow": 7}}):
        assert Quality.from_value(nonsense) == Quality()
