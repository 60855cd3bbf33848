"""The quality a driver gives to each property, and signs of life, on their way into the twin."""

from __future__ import annotations

from tests.gateway.devices.test_reporter import presence, reporter, version
from tests.gateway.workbench import bench, turns
from twingateway.errors import DeviceRefused, DeviceReplyInvalid


async def test_what_is_not_good_is_shown_with_its_reason_until_it_is_good_again() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1, "level": 2})
        port.quality({"flow": DeviceReplyInvalid("flow: no number"), "level": DeviceRefused("level: refused")})
        await turns()
        shown = presence(b, "quality")
        assert {name: (entry["code"], entry["message"]) for name, entry in shown.items()} == {
            "flow": ("device-reply-invalid", "flow: no number"),
            "level": ("device-refused", "level: refused"),
        }

        port.quality({"flow": DeviceReplyInvalid("flow: no number")})
        await turns()
        assert presence(b, "quality") == {"flow": shown["flow"]}

        port.quality({})
        await turns()
        assert presence(b, "quality") is None


async def test_a_sign_of_life_is_a_new_version_of_the_same_value() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1})
        first = version(b, "flow")
        port.report({"flow": 1}, again=True)
        assert version(b, "flow") != first
