"""What a device pushes: taken in at once, refused with a reason, and never overwritten by an older poll."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.adapters_http.http_plant import Asked, Plant, reply
from twingateway.adapter import WebhookRequest
from twingateway.errors import DeviceError, DeviceRefused, DeviceTimeout, MalformedText
from twingateway.testing.device_port import RecordingPort

GUST = {"gust": {"push": "wind.gust"}, "rain": {"push": "rain_mm", "scale": 0.1}}


def post(body: Any) -> WebhookRequest:
    return WebhookRequest("POST", "/device-1", body if isinstance(body, bytes) else json.dumps(body).encode())


async def listening(plant: Plant, *arguments: Any, **spec: Any) -> tuple[Any, RecordingPort]:
    """A running driver's webhook handler, and what the driver reports to."""
    _, recorder = plant.run(*arguments, **spec)
    await asyncio.sleep(0)
    return plant.context.webhooks["device-1"], recorder


async def test_a_push_is_reported_with_the_devices_time(plant: Plant) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={"time": "ts"})
    response = await handler(post({"wind": {"gust": 7.5}, "rain_mm": 12, "ts": 1_700_000_000_123}))
    assert response.status == 204
    assert recorder.reports[-1].values == {"gust": 7.5, "rain": 1.2}
    await handler(post({"rain_mm": 13}))
    assert recorder.reports[-1].values == {"rain": 1.3}
    assert [report.time for report in recorder.reports] == [1_700_000_000_123, None]
    assert recorder.problems == []


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        (1_700_000_000, 1_700_000_000_000),
        (1_700_000_000.5, 1_700_000_000_500),
        ("2023-11-14T22:13:20.250Z", 1_700_000_000_250),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
    ],
)
async def test_times_as_devices_write_them(plant: Plant, written: Any, milliseconds: int) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={"time": "ts"})
    await handler(post({"rain_mm": 1, "ts": written}))
    assert recorder.reports[-1].time == milliseconds


@pytest.mark.parametrize("written", ["yesterday", True, -5, 1e300, [1]])
async def test_a_time_that_makes_no_sense_costs_only_itself(plant: Plant, written: Any) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={"time": "ts"})
    await handler(post({"rain_mm": 1, "ts": written}))
    assert (recorder.values, recorder.reports[-1].time) == ({"rain": 0.1}, None)
    assert "time" in recorder.problems[0].message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b'{"rain_mm": Infinity}', "Infinity is not JSON"),
        (b"[" * 17 + b"]" * 17, "nested deeper than 16"),
        (b'{"other": 1}', "the body holds nothing of this device"),
        (b'{"rain_mm": "wet"}', "rain: 'wet' is not a number"),
    ],
)
async def test_a_push_that_cannot_be_read_is_refused_and_nothing_reported(
    plant: Plant, body: bytes, reason: str
) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={})
    with pytest.raises(MalformedText, match=reason):
        await handler(post(body))
    assert recorder.reports == []
    assert reason in recorder.problems[0].message
    await handler(post({"rain_mm": 10}))
    assert recorder.values == {"rain": 1}


async def test_one_bad_value_in_a_push_leaves_the_others(plant: Plant) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={})
    await handler(post({"rain_mm": "wet", "wind": {"gust": 3}}))
    assert recorder.values == {"gust": 3}
    assert recorder.problems[0].message == "webhook: rain: 'wet' is not a number, so it cannot be scaled"


async def test_a_poll_that_began_before_a_push_does_not_overwrite_it(plant: Plant) -> None:
    go_on = asyncio.Event()

    async def answer(asked: Asked) -> bytes:
        await go_on.wait()
        return reply({"gust": len(server.asked), "calm": 1})

    server = await plant.serve(answer)
    properties = {"gust": {"pick": "gust", "push": "gust"}, "calm": {"pick": "calm"}}
    handler, recorder = await listening(plant, server, properties, webhook={}, address={"timeout": "5s"})
    await server.until(lambda s: len(s.asked) == 1)
    await handler(post({"gust": 50}))
    go_on.set()
    await recorder.until(lambda r: "calm" in r.values)
    assert recorder.reports[1].values == {"calm": 1}
    # The next poll began after it, so it counts again.
    await recorder.until(lambda r: r.values["gust"] != 50)


async def test_a_device_whose_polls_fail_is_there_for_as_long_as_it_pushes(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply({"gust": 1}))
    properties = {"gust": {"pick": "gust", "push": "gust"}}
    handler, recorder = await listening(plant, server, properties, webhook={"silence": "300ms"})
    await recorder.until(lambda r: r.presence is True)

    async def fail(asked: Asked) -> bytes:
        await handler(post({"gust": 2}))
        return reply(status=503)

    server.answer = fail
    already = len(server.asked)
    await server.until(lambda s: len(s.asked) >= already + 3)
    assert recorder.presence is True
    assert "503" in recorder.problems[0].message
    server.answer = lambda asked: reply(status=503)
    await recorder.until(lambda r: r.presence is False)


async def test_silence_is_offline_and_a_push_brings_the_device_back(plant: Plant) -> None:
    handler, recorder = await listening(plant, None, GUST, webhook={"silence": "80ms"})
    await handler(post({"rain_mm": 1}))
    assert recorder.presence is True
    await recorder.until(lambda r: r.presence is False)
    assert isinstance(recorder.offline_error, DeviceTimeout)
    assert "pushed nothing for 0.08 s" in recorder.offline_error.message
    await handler(post({"rain_mm": 1}))
    assert recorder.presence is True
    await recorder.until(lambda r: r.presence is False)


async def test_a_read_shows_what_was_pushed(plant: Plant) -> None:
    driver, _ = plant.driver(None, GUST, webhook={})
    with pytest.raises(DeviceRefused, match="has pushed nothing yet"):
        await driver.read()
    await driver.take_push(post({"rain_mm": 4}))
    assert await driver.read() == {"rain": 0.4}


async def test_two_devices_on_one_path_or_no_listener_is_the_devices_own_error(plant: Plant) -> None:
    await listening(plant, None, GUST, webhook={"path": "device-1"})
    second, _ = plant.driver(None, GUST, webhook={"path": "device-1"})
    with pytest.raises(DeviceError, match="taken"):
        await second.run()
