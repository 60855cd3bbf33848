"""The token: asked for everywhere but at the two health routes, compared whole, never told."""

from __future__ import annotations

import logging

import pytest
import structlog

from tests.api.site import in_process, problem_of, served

pytestmark = pytest.mark.hurried

TOKEN = "s3cret-tökén"
GIVEN = {"Authorization": f"Bearer {TOKEN}".encode()}


async def test_with_the_token_everything_is_open():
    async with in_process(token=TOKEN) as site:
        for path in ("/twins", "/twins/pump", "/nodes", "/metrics", "/openapi.json"):
            assert (await site.client.get(path, headers=GIVEN)).status_code == 200
        lower = {"Authorization": f"bearer {TOKEN}".encode()}
        assert (await site.client.get("/twins", headers=lower)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Bearer s3cret", f"Bearer {TOKEN}x".encode(), TOKEN.encode(), b"Basic eDp5"],
)
async def test_without_it_only_health_is(header):
    headers = {} if header is None else {"Authorization": header}
    async with in_process(token=TOKEN) as site:
        for method, path in (
            ("GET", "/twins"),
            ("PATCH", "/twins/pump"),
            ("DELETE", "/twins/pump"),
            ("GET", "/events"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("GET", "/nowhere"),
            ("GET", "/healthz/"),
            ("OPTIONS", "/twins"),
        ):
            answer = await site.client.request(method, path, headers=headers)
            problem_of(answer, 401, "no-token")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
            wrong = "what was sent is not the node's API token"
            assert (
                wrong
                in problem_of(
                    await site.client.request(method, path, headers={"Authorization": "Bearer guessed"}),
                    401,
                    "no-token",
                )["detail"]
            )
        for path in ("/healthz", "/readyz"):
            assert (await site.client.get(path, headers=headers)).status_code == 200


async def test_two_authorizations_are_none():
    async with in_process(token=TOKEN) as site:
        both = [("Authorization", b"Bearer wrong"), ("Authorization", GIVEN["Authorization"])]
        problem_of(await site.client.get("/twins", headers=both), 401, "no-token")


async def test_no_token_gets_into_the_logs(caplog):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        async with served(token=TOKEN) as (site, _):
            await site.client.get("/twins", headers=GIVEN)
            await site.client.get("/twins", headers={"Authorization": b"Bearer " + TOKEN.encode() + b"?"})
    mine = [record for record in caplog.records if not record.name.startswith(("httpcore", "httpx"))]
    assert TOKEN not in "".join(record.getMessage() for record in mine) + str(logs)
