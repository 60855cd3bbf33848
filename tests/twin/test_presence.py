import pytest

from twingateway.twin.presence import Presence, PresenceState, Reach, effective
from twingateway.twin.value import Value

ONLINE = Presence(PresenceState.ONLINE, since=1000).to_value()


def down(since: int, message: str = "") -> Value:
    return Reach(up=False, since=since, code="link-lost", message=message).to_value()


def up(since: int) -> Value:
    return Reach(up=True, since=since).to_value()


def test_with_every_hop_up_the_holders_word_counts() -> None:
    offline = Presence(PresenceState.OFFLINE, 5, "device-timeout", "no answer in 2 s")
    assert effective(offline.to_value(), [up(1), up(9000)]) == offline


def test_any_hop_that_is_down_makes_the_device_unreachable() -> None:
    shown = effective(ONLINE, [up(1), down(2000, "no packet for 30 s"), up(3)])
    assert shown == Presence(PresenceState.UNREACHABLE, 2000, "link-lost", "no packet for 30 s")
    assert shown.state == "unreachable"


def test_it_is_unreachable_since_the_first_hop_broke() -> None:
    assert effective(ONLINE, [down(5000), down(3000, "first")]).message == "first"
    assert effective(ONLINE, [down(5000), down(3000)]).since == 3000


def test_it_is_not_unreachable_for_longer_than_the_holder_is_silent() -> None:
    assert effective(Presence(PresenceState.ONLINE, since=9000).to_value(), [down(5000)]).since == 9000


@pytest.mark.parametrize("nothing", [None, "online", {}, {"state": "lost"}, {"state": ["online"]}, 3])
def test_what_is_not_a_presence_is_unknown(nothing: Value) -> None:
    assert effective(nothing, []).state is PresenceState.UNKNOWN


def test_a_parent_that_has_said_nothing_takes_nothing_away() -> None:
    assert effective(ONLINE, [None, {}]).state is PresenceState.ONLINE


@pytest.mark.parametrize("state", list(PresenceState))
def test_presence_survives_its_register(state: PresenceState) -> None:
    presence = Presence(state, 12, "code", "message")
    assert Presence.from_value(presence.to_value()) == presence


def test_reach_survives_its_register() -> None:
    for reach in (Reach(True, 3), Reach(False, 4, "refused", "certificate expired")):
        assert Reach.from_value(reach.to_value()) == reach
