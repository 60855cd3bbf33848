"""The page at `/`: there without a token, empty without one, and able to reach nothing but its own node."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx2
import pytest

from tests.api.site import in_process, problem_of

ELSEWHERE = re.compile(r"https?:|//[a-z]|@import|url\(|\ssrc=")
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(")


@pytest.fixture
async def page() -> httpx2.Response:
    async with in_process(token="secret") as site:
        return await site.client.get("/")


def policy(page: httpx2.Response) -> dict[str, list[str]]:
    directives = (each.split() for each in page.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in directives}


async def test_it_is_there_without_a_token_and_what_it_shows_is_not(page: httpx2.Response) -> None:
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "pump" not in page.text
    async with in_process(token="secret") as site:
        for path in ("/twins", "/events"):
            problem_of(await site.client.get(path), 401, "no-token")


def test_it_names_nothing_from_elsewhere_and_makes_no_markup_of_what_it_is_told(page: httpx2.Response) -> None:
    assert ELSEWHERE.findall(page.text) == []
    assert MARKUP.findall(page.text) == []


def test_its_policy_lets_its_own_script_and_style_run_and_no_other(page: httpx2.Response) -> None:
    directives = policy(page)
    assert directives["default-src"] == ["'none'"]
    assert directives["connect-src"] == ["'self'"]
    for tag in ("script", "style"):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == [f"'sha256-{digest}'"]
    assert " style=" not in page.text
    assert not re.search(r"\son[a-z]+=", page.text)


async def test_what_it_asks_of_the_api_is_there(page: httpx2.Response) -> None:
    [kinds] = re.findall(r"const query = \[(.*?)\]", page.text)
    params = {"kind": re.findall(r'"(\w+)"', kinds), "twin": "none"}
    async with in_process() as site:
        described = (await site.client.get("/openapi.json")).json()["paths"]
        assert {"/twins", "/twins/{name}", "/events"} <= described.keys()
        assert "/" not in described
        [kind] = [each for each in described["/events"]["get"]["parameters"] if each["name"] == "kind"]
        allowed = (await site.client.get("/openapi.json")).json()["components"]["schemas"]["EventKind"]["enum"]
        assert kind["in"] == "query"
        assert set(params["kind"]) == set(allowed) - {"notice"}
