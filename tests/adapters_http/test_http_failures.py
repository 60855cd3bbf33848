"""Devices that fail in every way HTTP allows, each with its own error, and harming nobody else."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from typing import Any

import pytest

from tests.adapters_http.http_plant import Answerer, Asked, Plant, Server, reply
from twingateway.errors import DeviceError, DeviceRefused, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable

POWER = {"power": {"pick": "power"}}
GOOD = reply({"power": 1})


def nested(levels: int) -> bytes:
    return b'{"power":' + b"[" * (levels - 1) + b"1" + b"]" * (levels - 1) + b"}"


async def silence(asked: Asked) -> bytes | None:
    await asyncio.sleep(60)
    return None


HOSTILE: list[tuple[str, Answerer, type[DeviceError], str]] = [
    ("400", lambda asked: reply(status=400), DeviceRefused, "GET /s: the device answered 400 Bad Request"),
    ("401", lambda asked: reply({"error": "who?"}, 401), DeviceRefused, "401 Unauthorized: who\\?"),
    ("403", lambda asked: reply({"error": {"message": "no"}}, 403), DeviceRefused, "403 Forbidden: no"),
    ("404", lambda asked: reply(b"gone\r\nfishing", 404, content_type="text/plain"), DeviceRefused, ": gone fishing"),
    ("404 page", lambda asked: reply(b"<html>", 404, content_type="text/html"), DeviceRefused, "404 Not Found$"),
    ("408", lambda asked: reply(status=408), DeviceTimeout, "408"),
    ("418", lambda asked: reply({"title": "teapot"}, 418), DeviceRefused, "418 I'm a Teapot: teapot"),
    ("499", lambda asked: reply(status=499), DeviceRefused, "answered 499$"),
    ("429", lambda asked: reply(status=429), DeviceUnreachable, "429 Too Many Requests"),
    ("500", lambda asked: reply(status=500), DeviceReplyInvalid, "500 Internal Server Error"),
    ("501", lambda asked: reply(status=501), DeviceRefused, "501"),
    ("503", lambda asked: reply(status=503), DeviceUnreachable, "503 Service Unavailable"),
    ("504", lambda asked: reply(status=504), DeviceTimeout, "504"),
    ("hang up", lambda asked: None, DeviceReplyInvalid, "GET /s: Server disconnected"),
    ("no HTTP", lambda asked: b"SSH-2.0-dropbear\r\n\r\n", DeviceReplyInvalid, "GET /s"),
    ("empty", lambda asked: reply(), DeviceReplyInvalid, "not JSON"),
    ("HTML", lambda asked: reply(b"<!doctype html>"), DeviceReplyInvalid, "not JSON .*<!doctype html>"),
    ("NaN", lambda asked: reply(b'{"power": NaN}'), DeviceReplyInvalid, "NaN is not JSON"),
    ("UTF-8", lambda asked: reply(b'{"power": "\xff"}'), DeviceReplyInvalid, "not JSON"),
    ("digits", lambda asked: reply(b'{"power": ' + b"9" * 5000 + b"}"), DeviceReplyInvalid, "not JSON"),
    ("list", lambda asked: reply([1, 2]), DeviceReplyInvalid, "power: nothing there"),
    ("deep", lambda asked: reply(nested(17)), DeviceReplyInvalid, "nested deeper than 16 levels"),
    ("abyss", lambda asked: reply(nested(100_000)), DeviceReplyInvalid, "nested deeper than 16 levels"),
    ("large", lambda asked: reply(b" " * 262_145), DeviceReplyInvalid, "larger than 256 KiB"),
    ("said large", lambda asked: reply(b"", content_length="9" * 12), DeviceReplyInvalid, "larger than 256 KiB"),
    ("gzip", lambda asked: reply(b"\x1f\x8b", content_encoding="gzip"), DeviceReplyInvalid, "compressed"),
]


@pytest.mark.parametrize(("answer", "kind", "message"), [case[1:] for case in HOSTILE], ids=[c[0] for c in HOSTILE])
async def test_a_failure_has_its_own_error(
    plant: Plant, answer: Answerer, kind: type[DeviceError], message: str
) -> None:
    server = await plant.serve(answer)
    driver, _ = plant.driver(server, POWER, requests={"status": {"path": "/s?key=1"}})
    with pytest.raises(kind, match=message) as caught:
        await driver.read()
    assert type(caught.value) is kind
    assert "key" not in caught.value.message


@pytest.mark.parametrize(
    "answer", [silence, lambda asked: reply(b"{}", content_length="99")[:-1]], ids=["silence", "half"]
)
async def test_an_answer_that_does_not_come_whole_is_waited_for_as_long_as_said(
    plant: Plant, answer: Answerer
) -> None:
    server = await plant.serve(answer)
    asking = {"requests": {"status": {"path": "/s?key=1"}}, "address": {"timeout": "100ms"}}
    driver, _ = plant.driver(server, POWER, **asking)
    with pytest.raises(DeviceTimeout, match=r"^GET /s: no answer within 0\.1 s$"):
        await driver.read()


async def test_sixteen_levels_and_256_kib_are_allowed(plant: Plant) -> None:
    body = nested(16)
    server = await plant.serve(lambda asked: reply(body + b" " * (262_144 - len(body))))
    driver, _ = plant.driver(server, POWER)
    assert "power" in await driver.read()


async def test_an_endless_answer_is_refused_before_it_is_in_memory(plant: Plant) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()
                sent += 0x10000
        except OSError:
            writer.close()

    raw = await asyncio.start_server(flood, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{raw.sockets[0].getsockname()[1]}"
    driver, _ = plant.driver(None, POWER, address={"url": url})
    with pytest.raises(DeviceReplyInvalid, match="larger than 256 KiB"):
        await driver.read()
    assert sent < 16 * 1024 * 1024  # what the kernel's buffers took, not what a greedy reader would have
    raw.close()


async def test_an_answer_that_drips_is_cut_off_by_the_time_out(plant: Plant) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            for byte in reply(b" " * 100_000):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            writer.close()

    raw = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{raw.sockets[0].getsockname()[1]}"
    driver, _ = plant.driver(None, POWER, address={"url": url, "timeout": "200ms"})
    with pytest.raises(DeviceTimeout, match=r"no answer within 0\.2 s"):
        await driver.read()
    raw.close()


async def test_nobody_listens(plant: Plant) -> None:
    server = await plant.serve(lambda asked: GOOD)
    await server.stop()
    driver, _ = plant.driver(None, POWER, address={"url": server.url})
    with pytest.raises(DeviceUnreachable, match=r"^GET /: Connection refused$"):
        await driver.read()


async def test_redirects_within_the_origin_are_followed_three_times_and_not_in_a_circle(plant: Plant) -> None:
    def chain(asked: Asked) -> bytes:
        step = int(asked.path.strip("/") or 0)
        return reply({"power": step}) if step == last else reply(status=302, location=f"/{step + 1}")

    server = await plant.serve(chain)
    driver, _ = plant.driver(server, POWER)
    last = 3
    assert await driver.read() == {"power": 3}
    last = 4
    with pytest.raises(DeviceReplyInvalid, match="redirects more than 3 times"):
        await driver.read()
    server.answer = lambda asked: reply(status=301, location="/a" if asked.path != "/a" else "/b")
    server.asked.clear()
    with pytest.raises(DeviceReplyInvalid, match="redirects"):
        await driver.read()
    server.answer = lambda asked: reply(status=307, location="")
    with pytest.raises(DeviceRefused, match="307"):
        await driver.read()


async def test_a_redirect_loop_is_named(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply(status=302, location="/"))
    driver, _ = plant.driver(server, POWER, requests={"status": {"path": "/"}})
    with pytest.raises(DeviceReplyInvalid, match="redirects in a circle"):
        await driver.read()
    assert len(server.asked) == 1


async def test_credentials_never_follow_a_redirect_elsewhere(plant: Plant) -> None:
    other = await plant.serve(lambda asked: GOOD)
    server = await plant.serve(lambda asked: reply(status=302, location=other.url + "/x"))
    driver, _ = plant.driver(server, POWER, address={"auth": {"bearer": "s3cret-token"}})
    with pytest.raises(DeviceReplyInvalid, match="another origin; if that is right, make it the device's address"):
        await driver.read()
    assert other.asked == []


async def test_a_dropped_idle_connection_is_no_failure(plant: Plant) -> None:
    # The server takes the request on the kept connection and hangs up, as one does whose idle time ran out.
    server = await plant.serve(lambda asked: None if len(server.asked) == 2 else GOOD)
    driver, _ = plant.driver(server, POWER)
    await driver.read()
    assert await driver.read() == {"power": 1}
    assert (len(server.asked), server.connections) == (3, 2)


# --- presence -------------------------------------------------------------------------------------------------


async def test_offline_at_the_second_failure_and_back_by_itself(plant: Plant) -> None:
    server = await plant.serve(lambda asked: GOOD)
    _, recorder = plant.run(server, POWER, address={"timeout": "100ms"})
    await recorder.until(lambda r: r.presence is True)

    server.answer = lambda asked: reply(status=503) if len(server.asked) == fails else GOOD
    fails = len(server.asked) + 1
    await recorder.until(lambda r: len(r.problems) == 1)
    await server.until(lambda s: len(s.asked) > fails)
    assert recorder.presence is True

    server.answer = silence
    await recorder.until(lambda r: r.presence is False)
    assert isinstance(recorder.offline_error, DeviceTimeout)
    server.answer = lambda asked: reply({"power": 2})
    await recorder.until(lambda r: r.presence is True and r.values["power"] == 2)


async def test_a_device_that_was_never_there_is_offline_at_once(plant: Plant) -> None:
    server = await plant.serve(lambda asked: None)
    _, recorder = plant.run(server, POWER)
    await recorder.until(lambda r: r.presence is False)
    assert isinstance(recorder.offline_error, DeviceReplyInvalid)


async def test_a_device_that_refuses_is_there_with_a_problem(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply(status=401))
    _, recorder = plant.run(server, POWER)
    await recorder.until(lambda r: bool(r.problems))
    assert recorder.presence is True
    assert isinstance(recorder.problems[0], DeviceRefused)
    await server.until(lambda s: len(s.asked) >= 3)
    assert len(recorder.problems) == 1  # not told again with every poll


async def test_one_request_that_fails_leaves_the_others_and_the_presence(plant: Plant) -> None:
    server = await plant.serve(lambda asked: GOOD if asked.path == "/good" else reply(status=500))
    _, recorder = plant.run(
        server,
        {"power": {"request": "good", "pick": "power"}, "other": {"request": "bad", "pick": "power"}},
        requests={"good": {"path": "/good"}, "bad": {"path": "/bad"}},
    )
    await server.until(lambda s: len([asked for asked in s.asked if asked.path == "/bad"]) >= 3)
    assert (recorder.values, recorder.presence) == ({"power": 1}, True)
    assert "GET /bad: the device answered 500" in recorder.problems[-1].message


async def test_a_device_that_was_away_is_asked_in_full(plant: Plant) -> None:
    # Its tags may have begun anew, so an old one must not stand for its new state.
    server = await plant.serve(lambda asked: reply({"power": 1}, etag='"1"'))
    _, recorder = plant.run(server, POWER)
    await server.until(lambda s: s.asked[-1:] != [] and "if-none-match" in s.asked[-1].headers)
    server.answer = lambda asked: None
    await recorder.until(lambda r: r.presence is False)
    server.asked.clear()
    server.answer = lambda asked: reply(status=304) if "if-none-match" in asked.headers else reply({"power": 2})
    await recorder.until(lambda r: r.values["power"] == 2)


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured_by_polls_and_writes(plant: Plant, form: str) -> None:
    header = "3000" if form == "seconds" else formatdate(time.time() + 3000, usegmt=True)
    server = await plant.serve(lambda asked: reply(status=429, retry_after=header))
    driver, recorder = plant.run(server, {"power": {"pick": "power", "command": {"body": "$value"}}})
    await recorder.until(lambda r: r.presence is False)
    with pytest.raises(DeviceUnreachable, match=r"asked to be left alone for another (29\d\d|3000) s"):
        await driver.write("power", 1)
    await asyncio.sleep(0.15)
    assert len(server.asked) == 1


@pytest.mark.parametrize("header", ["", "soon", "-5", "Wed, 99 Foo 2026"])
async def test_a_retry_after_that_makes_no_sense_is_ignored(plant: Plant, header: str) -> None:
    server = await plant.serve(lambda asked: reply(status=503, retry_after=header))
    plant.run(server, POWER)
    await server.until(lambda s: len(s.asked) >= 2)


async def test_one_bad_device_never_delays_another(plant: Plant) -> None:
    bad = await plant.serve(silence)
    good = await plant.serve(lambda asked: reply({"power": len(good.asked)}))
    for _ in range(50):
        plant.run(bad, POWER, address={"timeout": "5s"})
    await bad.until(lambda s: len(s.asked) == 50)
    _, recorder = plant.run(good, POWER, period="50ms")
    await recorder.until(lambda r: r.values.get("power", 0) >= 5)  # type: ignore[operator]
    assert len(bad.asked) == 50  # all of them were still waiting


# --- secrets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"bearer": "s3cret-token"}, "Bearer s3cret-token"),
        ({"bearer_file": "secret.txt"}, "Bearer s3cret-token"),
        ({"username": "ada", "password": "s3cret-token"}, "Basic YWRhOnMzY3JldC10b2tlbg=="),
        ({"username": "ada", "password_file": "secret.txt"}, "Basic YWRhOnMzY3JldC10b2tlbg=="),
    ],
)
async def test_secrets_are_sent_and_never_shown(
    plant: Plant, tmp_path: Any, caplog: pytest.LogCaptureFixture, auth: dict[str, str], expected: str
) -> None:
    (tmp_path / "secret.txt").write_text("s3cret-token\n")

    def echo(asked: Asked) -> bytes:
        return reply({"error": f"{asked.headers['authorization']} {asked.headers['x-key']} is wrong"}, 401)

    server: Server = await plant.serve(echo)
    address = {"auth": auth, "headers": {"X-Key": "k3y-header"}}
    caplog.set_level(logging.INFO)
    driver, _ = plant.driver(server, POWER, folder=tmp_path, address=address)
    with pytest.raises(DeviceRefused, match=r"is wrong$") as caught:
        await driver.read()
    assert server.asked[0].headers["authorization"] == expected
    assert server.asked[0].headers["x-key"] == "k3y-header"
    shown = caught.value.message + repr(caught.value.detail) + caplog.text + repr(driver._settings)
    for secret in ("s3cret", "YWRh", "k3y"):
        assert secret not in shown


async def test_cookies_are_not_kept(plant: Plant) -> None:
    server = await plant.serve(lambda asked: reply({"power": 1}, set_cookie="session=1"))
    driver, _ = plant.driver(server, POWER)
    await driver.read()
    await driver.read()
    assert "cookie" not in server.asked[1].headers
