"""Writing: the request made from a template, and the GET that has to show the value before it counts as applied."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.adapters_http.http_plant import Asked, Plant, Server, reply
from twingateway.adapter import UNCONFIRMED, Value
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    InvalidValue,
    WriteMismatch,
)


async def charger(plant: Plant, *, looks: int = 0, cap: float = 100.0) -> tuple[Server, dict[str, Any]]:
    """A device that takes a limit over after `looks` looks, and up to `cap` only."""
    state: dict[str, Any] = {"limit": 16.0, "next": 16.0, "looks": 0}

    def answer(asked: Asked) -> bytes:
        if asked.method == "PUT":
            state.update(next=min(asked.json["limit_a"], cap), looks=looks)
            return reply(status=204)
        if state["looks"] == 0:
            state["limit"] = state["next"]
        state["looks"] = max(0, state["looks"] - 1)
        return reply({"settings": {"limit_a": state["limit"]}}, etag='"never changes"')

    return await plant.serve(answer), state


def limit(**more: Any) -> dict[str, Any]:
    command = {"path": "/settings", "body": {"limit_a": "$value"}, "confirm_timeout": "400ms"}
    return {"limit": {"pick": "settings.limit_a", "command": command | more.pop("command", {}), **more}}


async def test_a_write_is_confirmed_by_a_get(plant: Plant) -> None:
    server, _ = await charger(plant)
    driver, recorder = plant.driver(server, limit())
    written = await driver.write("limit", 10)
    assert (written.confirmed, written.observed) == (True, 10)
    assert [(asked.method, asked.path) for asked in server.asked] == [("PUT", "/settings"), ("GET", "/")]
    assert server.asked[0].headers["content-type"] == "application/json"
    assert "if-none-match" not in server.asked[1].headers
    assert recorder.values == {"limit": 10}


async def test_the_device_may_need_some_looks_to_take_a_value_over(plant: Plant) -> None:
    server, _ = await charger(plant, looks=2)
    driver, _ = plant.driver(server, limit(command={"confirm_timeout": "5s"}))
    assert (await driver.write("limit", 10)).confirmed
    assert len(server.asked) == 4


async def test_another_value_than_asked_for_is_a_mismatch(plant: Plant) -> None:
    server, _ = await charger(plant, cap=13)
    driver, recorder = plant.driver(server, limit())
    with pytest.raises(WriteMismatch, match="limit was set to 20, but the device reports 13") as caught:
        await driver.write("limit", 20)
    assert caught.value.detail["observed"] == 13
    assert recorder.values == {"limit": 13}


async def test_without_a_pick_a_write_stays_unconfirmed(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply())
    driver, _ = plant.driver(server, {"reboot": {"command": {"method": "POST", "body": {"in": "$value"}}}})
    assert driver.writable == {"reboot"}
    assert await driver.write("reboot", 5) is UNCONFIRMED
    with pytest.raises(InvalidValue, match="cannot be written"):
        await driver.write("other", 5)


async def test_numbers_match_within_tolerance_and_scale(plant: Plant) -> None:
    server, state = await charger(plant, cap=1000)
    driver, _ = plant.driver(server, limit(scale=0.1, tolerance=0.05))
    assert (await driver.write("limit", 21.5)).observed == 21.5
    assert state["next"] == 215
    assert server.asked[0].body == b'{"limit_a":215}'
    cases: list[tuple[Value, Value, bool]] = [
        (21.5, 21.54, True),
        (21.5, 21.56, False),
        (1, True, False),
        (True, True, True),
        ("a", "a", True),
        ([1], [2], False),
    ]
    assert [driver.matches("limit", wanted, observed) for wanted, observed, _ in cases] == [c[2] for c in cases]


@pytest.mark.parametrize(
    ("command", "value", "path", "body"),
    [
        ({"path": "/set?to=$value"}, "50 %/ü&x=1", "/set?to=50%20%25%2F%C3%BC%26x%3D1", b""),
        ({"path": "/set/{device}/$value"}, "../../admin", "/set/device-1/..%2F..%2Fadmin", b""),
        ({"path": "/set/$value"}, True, "/set/true", b""),
        ({"body": "$value"}, None, "/", b"null"),
        ({"body": {"a": ["$value", "at $value W"], "b": 1}}, 1.5, "/", b'{"a":[1.5,"at 1.5 W"],"b":1}'),
        ({"body": {"a": "$value"}}, {"x": [1, '"']}, "/", b'{"a":{"x":[1,"\\""]}}'),
        ({"body": {"a": "$value"}}, "$value", "/", b'{"a":"$value"}'),
    ],
)
async def test_the_value_is_typed_in_the_body_and_encoded_in_the_path(
    plant: Plant, command: dict[str, Any], value: Value, path: str, body: bytes
) -> None:
    server = await plant.serve(lambda asked: reply())
    driver, _ = plant.driver(server, {"x": {"command": command}})
    await driver.write("x", value)
    assert (server.asked[0].path, server.asked[0].body) == (path, body)


@pytest.mark.parametrize(
    ("answer", "expect", "kind", "message"),
    [
        (
            reply({"detail": "too much"}, 422),
            [],
            DeviceRefused,
            "PUT /settings: the device answered 422 .*: too much",
        ),
        (reply(status=500), [], DeviceReplyInvalid, "PUT /settings: the device answered 500"),
        (reply(status=200), [204], DeviceRefused, "answered 200 OK"),
        (reply(status=303, location="/done"), [], DeviceRefused, "303 See Other"),
        (reply(status=302, location="http://elsewhere/"), [], DeviceRefused, "302 Found"),
    ],
)
async def test_a_write_that_is_not_taken_says_why(
    plant: Plant, answer: bytes, expect: list[int], kind: type[DeviceError], message: str
) -> None:
    server = await plant.serve(lambda asked: answer)
    driver, _ = plant.driver(server, limit(command={"expect": expect}))
    with pytest.raises(kind, match=message):
        await driver.write("limit", 1)
    assert len(server.asked) == 1


async def test_an_expected_redirect_is_success_and_307_repeats_the_write(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply(status=303, location="/done"))
    properties = {"x": {"command": {"body": "$value", "expect": [303]}}}
    driver, _ = plant.driver(server, properties)
    assert await driver.write("x", 1) is UNCONFIRMED

    server.answer = lambda asked: reply(status=303) if asked.path == "/v2" else reply(status=307, location="/v2")
    server.asked.clear()
    await driver.write("x", 2)
    assert [(asked.method, asked.path, asked.json) for asked in server.asked] == [("PUT", "/", 2), ("PUT", "/v2", 2)]


async def test_a_write_is_never_sent_twice_by_itself(plant: Plant) -> None:
    server = await plant.serve(lambda asked: None)
    driver, _ = plant.driver(server, limit())
    with pytest.raises(DeviceReplyInvalid, match="PUT /settings: Server disconnected"):
        await driver.write("limit", 1)
    assert len(server.asked) == 1


async def test_a_confirmation_that_cannot_be_had_is_a_passing_failure(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply(status=204 if asked.method == "PUT" else 504))
    driver, _ = plant.driver(server, limit())
    with pytest.raises(DeviceTimeout, match="GET /: the device answered 504") as caught:
        await driver.write("limit", 1)
    assert caught.value.transient


async def test_polls_and_writes_take_turns(plant: Plant) -> None:
    under_way = 0
    most = 0

    async def answer(asked: Asked) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return reply({"settings": {"limit_a": 5}})

    server = await plant.serve(answer)
    driver, _ = plant.run(server, limit(), period="50ms")
    for _ in range(5):
        await driver.write("limit", 5)
    assert most == 1
