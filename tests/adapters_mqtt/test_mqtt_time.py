"""A device's own time stamp goes with its values; one that makes no sense does not."""

import json
from typing import Any

import pytest
from twingateway_mqtt.point import state_topics
from twingateway_mqtt.settings import DeviceSettings, Names


def reading(payload: Any, **settings: Any) -> tuple[dict[str, Any], int | None]:
    document = {"properties": {"power": {"topic": "state", "pick": "power"}}, **settings}
    (topic,) = state_topics(DeviceSettings.model_validate(document), Names("lamp", "lamp", "default"), None)
    found = topic.read(json.dumps(payload).encode())
    assert found.faults == ()
    return dict(found.values), found.time


def test_the_time_is_picked_from_the_payload() -> None:
    payload = {"power": 4, "at": {"ms": 1_760_000_000_123}}
    assert reading(payload, time="at.ms") == ({"power": 4}, 1_760_000_000_123)
    assert reading(payload) == ({"power": 4}, None)


@pytest.mark.parametrize("said", [None, "yesterday", True, -5, 1e300, [1]])
def test_a_senseless_time_is_left_out_and_harms_no_value(said: Any) -> None:
    assert reading({"power": 4, "ts": said}, time="ts") == ({"power": 4}, None)
