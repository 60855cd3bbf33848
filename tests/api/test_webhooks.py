"""The listener for pushes: who may post, what is refused, and that one handler's failure is its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from twingateway.adapter import WebhookRequest, WebhookResponse
from twingateway.api.webhooks import WebhookServer
from twingateway.errors import InvalidConfig, InvalidValue, MalformedText, Problem

pytestmark = pytest.mark.hurried

SECRET = "correct horse"
BODY = b'{"power": 5}'
MAX_BODY = 1024


@dataclass
class Listener:
    """A running server, a client to it, and the requests that its handler at `/meter` was given."""

    client: httpx2.AsyncClient
    server: WebhookServer
    taken: list[WebhookRequest] = field(default_factory=list)

    async def take(self, request: WebhookRequest) -> WebhookResponse:
        self.taken.append(request)
        if not request.body.startswith(b"{"):
            raise MalformedText("the body is not JSON")
        return WebhookResponse()

    async def post(self, path: str = "/meter", body: bytes = BODY, **headers: str) -> httpx2.Response:
        proof = headers or {"authorization": f"Bearer {SECRET}"}
        return await self.client.post(path, content=body, headers={k.replace("_", "-"): v for k, v in proof.items()})


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    server = WebhookServer("127.0.0.1", 0, secret=SECRET, max_body=MAX_BODY)
    await server.start()
    host, port = server.address
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        listener = Listener(client, server)
        server.add("meter", listener.take)
        yield listener
    await server.stop()


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def test_a_bearer_token_lets_a_post_in(listener: Listener) -> None:
    answer = await listener.client.post(
        "/meter/?site=7", content=BODY, headers={"Authorization": f"Bearer {SECRET}", "X-Site": "a"}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    (request,) = listener.taken
    assert (request.method, request.body, request.query) == ("POST", BODY, {"site": "7"})
    assert request.headers["x-site"] == "a"


async def test_a_signature_of_the_body_lets_a_post_in(listener: Listener) -> None:
    assert (await listener.post(x_signature_256=signed(BODY))).status_code == 204
    assert len(listener.taken) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"x-nothing": ""},
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": SECRET},
        {"authorization": f"Basic {SECRET}"},
        {"x-signature-256": ""},
        {"x-signature-256": "sha256="},
        {"x-signature-256": signed(BODY, "wrong")},
        {"x-signature-256": signed(BODY + b" ")},
        {"x-signature-256": signed(BODY).removeprefix("sha256=")},
    ],
)
async def test_without_the_secret_nothing_comes_in(listener: Listener, headers: dict[str, str]) -> None:
    answer = await listener.post("/meter", BODY, **headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    assert listener.taken == []


async def test_a_stranger_does_not_learn_which_paths_exist(listener: Listener) -> None:
    answers = [await listener.post(path, authorization="Bearer wrong") for path in ("/meter", "/no-such-path")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


async def test_a_listener_without_a_secret_asks_for_none() -> None:
    server = WebhookServer("127.0.0.1", 0, secret=None, max_body=MAX_BODY)
    await server.start()
    host, port = server.address

    async def take(request: WebhookRequest) -> WebhookResponse:
        return WebhookResponse(200, b'{"ok": true}')

    server.add("open", take)
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://{host}:{port}/open")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    await server.stop()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(listener: Listener, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 500

    content: Any = chunks() if chunked else b"x" * (MAX_BODY + 1)
    headers = {"authorization": f"Bearer {SECRET}"}
    answer = await listener.client.post("/meter", content=content, headers=headers)
    assert answer.status_code == 413
    assert listener.taken == []
    assert (await listener.post(body=b"{" + b" " * (MAX_BODY - 1))).status_code == 204


async def test_what_a_handler_refuses_is_answered_400_with_the_reason(listener: Listener) -> None:
    async def picky(request: WebhookRequest) -> WebhookResponse:
        raise InvalidValue(Problem("5 is more than 3", "power", "maximum"))

    listener.server.add("picky", picky)
    answer = await listener.post(body=b"not json")
    assert (answer.status_code, answer.json()["detail"]) == (400, "the body is not JSON")
    answer = await listener.post("/picky")
    assert answer.status_code == 400
    assert answer.json()["problems"] == [{"path": "power", "message": "5 is more than 3", "rule": "maximum"}]


async def test_an_unknown_path_is_404_and_anything_but_post_405(listener: Listener) -> None:
    assert (await listener.post("/other")).status_code == 404
    assert (await listener.post("/meter/deeper")).status_code == 404
    for method in ("GET", "PUT", "DELETE"):
        answer = await listener.client.request(method, "/meter", headers={"authorization": f"Bearer {SECRET}"})
        assert answer.status_code == 405
    assert listener.taken == []


async def test_a_handler_that_crashes_is_500_and_harms_no_other(listener: Listener) -> None:
    entered = asyncio.Event()

    async def crash(request: WebhookRequest) -> WebhookResponse:
        entered.set()
        raise RuntimeError("the adapter's secret is 42")

    let_go = asyncio.Event()

    async def hang(request: WebhookRequest) -> WebhookResponse:
        entered.set()
        await let_go.wait()
        return WebhookResponse()

    listener.server.add("crash", crash)
    listener.server.add("hang", hang)
    answer = await listener.post("/crash")
    assert answer.status_code == 500
    assert "42" not in answer.text
    entered.clear()
    hanging = asyncio.ensure_future(listener.post("/hang"))
    await asyncio.wait_for(entered.wait(), 5)
    assert (await listener.post()).status_code == 204
    let_go.set()
    assert (await hanging).status_code == 204


async def test_a_path_belongs_to_one_device(listener: Listener) -> None:
    with pytest.raises(InvalidConfig, match="/meter"):
        listener.server.add("/meter/", listener.take)


async def test_problem_documents_are_json(listener: Listener) -> None:
    answer = await listener.post("/other")
    assert json.loads(answer.content)["title"] == "No such webhook"
