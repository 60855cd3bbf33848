"""What a device document may say, and what is refused with a reason."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError
from twingateway_mqtt.settings import DeviceSettings

STATE: dict[str, Any] = {"topic": "{base}/status", "pick": "apower"}


def test_a_whole_document_is_understood() -> None:
    settings = DeviceSettings.model_validate(
        {
            "address": {"base": "shelly/{device}"},
            "presence": {"topic": "{base}/online", "online": True, "offline": False, "silence": "90s"},
            "read": {"topic": "{base}/rpc", "template": "status"},
            "properties": {
                "power": STATE,
                "output": {**STATE, "command": {"topic": "{base}/set", "template": {"on": "$value"}}},
            },
        }
    )
    assert settings.presence is not None
    assert settings.presence.silence == 90.0
    command = settings.properties["output"].command
    assert command is not None
    assert command.confirm_timeout == 5.0


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"properties": {}}, "at least 1"),
        ({"properties": {"p": {}}}, "a topic, a command, or both"),
        ({"properties": {"p": {**STATE, "pikc": "x"}}}, "Extra inputs"),
        ({"properties": {"p": {"topic": "{base}/status", "pick": "a.["}}}, "not a JMESPath expression"),
        ({"properties": {"p": {"topic": "{place}/status"}}}, "{place} means nothing"),
        ({"properties": {"p": {"topic": "a/+/b"}}}, "none of \\+ and #"),
        ({"properties": {"p": {"topic": "a", "payload": "text", "pick": "x"}}}, "nothing can be picked"),
        ({"properties": {"p": {"topic": "a", "true_words": ["up"]}}}, "come together"),
        ({"properties": {"p": {"command": {"topic": "a", "payload": "text", "template": {}}}}}, "is a text"),
        ({"properties": {"p": {"command": {"topic": "a", "qos": 2}}}}, "less than or equal to 1"),
        ({"properties": {"p": STATE}, "presence": {}}, "a topic, a silence, or both"),
        ({"properties": {"p": STATE}, "presence": {"silence": "soon"}}, "not a duration"),
        ({"properties": {"p": STATE}, "presence": {"topic": "a", "online": "x", "offline": "X"}}, "the same"),
        ({"properties": {"p": STATE}, "address": {"base": "{base}/x"}}, "part of itself"),
    ],
)
def test_a_mistake_is_named(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DeviceSettings.model_validate(document)


def test_importing_the_kind_loads_no_library() -> None:
    check = (
        "import sys; from twingateway_mqtt import ADAPTER; assert ADAPTER.name == 'mqtt';"
        "assert not {'jmespath', 'cbor2', 'paho', 'amqtt'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
