"""Every error is a problem document, whatever raised it."""

from __future__ import annotations

import pytest

from tests.api.site import in_process, problem_of
from twingateway.api.problems import ANSWER, answer
from twingateway.errors import (
    DeviceRefused,
    InvalidValue,
    Problem,
    StoreCorrupt,
    StoreFull,
    TwinGatewayError,
    all_codes,
    all_errors,
)


def test_every_code_of_the_tree_has_its_answer():
    assert set(ANSWER) == all_codes()
    assert all(400 <= status < 600 and title for status, title in ANSWER.values())


@pytest.mark.parametrize(
    "error",
    [e for e in all_errors() if e is not InvalidValue],
    ids=lambda e: e.code,
)
def test_every_error_can_be_answered(error: type[TwinGatewayError]):
    detail = {"current": "1.1.1"} if error.code == "version-mismatch" else {}
    response = answer(error("what is wrong", **detail))
    assert response.status_code == ANSWER[error.code][0]
    assert response.media_type == "application/problem+json"


def test_facts_of_an_error_never_hide_the_problem():
    response = answer(DeviceRefused("no", status=404, title="x", detail="y", code="z", observed=float("nan")))
    assert b"NaN" not in response.body
    assert b'"status": "502"' in response.body or b'"status": 502' in response.body
    assert b'"device-refused"' in response.body
    odd = answer(InvalidValue(Problem("half a \ud800 character", "a")))
    assert odd.body.decode()


async def test_unknown_routes_and_methods():
    async with in_process() as site:
        problem_of(await site.client.get("/nowhere"), 404, "not-found")
        problem_of(await site.client.get("/twins/"), 404, "not-found")
        problem_of(await site.client.get("/docs"), 404, "not-found")
        wrong = await site.client.post("/twins/pump", json={})
        problem_of(wrong, 405, "no-method")
        assert wrong.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"


async def test_options_tells_the_methods_and_lets_no_foreign_page_in():
    async with in_process() as site:
        headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "PATCH"}
        answered = await site.client.options("/twins", headers=headers)
        assert (answered.status_code, answered.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert not [name for name in answered.headers if name.startswith("access-control")]
        assert (await site.client.options("/events")).headers["allow"] == "GET, OPTIONS"


async def test_wrong_parameters_are_named():
    async with in_process() as site:
        for query, path in (("limit=0", "query.limit"), ("limit=x", "query.limit"), ("limit=1001", "query.limit")):
            problem = problem_of(await site.client.get(f"/twins?{query}"), 422, "invalid-parameter")
            assert problem["problems"][0]["path"] == path
        problem_of(await site.client.get("/twins/a%20b"), 422, "invalid-value")


async def test_a_parameter_that_is_not_known_is_refused_and_what_may_be_meant_is_said():
    async with in_process() as site:
        for method, path, meant in (
            ("GET", "/twins?presense=online", '(did you mean "presence"?)'),
            ("PATCH", "/twins/pump?tll=30s", '(did you mean "ttl"?)'),
            ("GET", "/healthz?deep=yes", "there is no such parameter"),
        ):
            found = problem_of(await site.client.request(method, path, json={}), 422, "invalid-parameter")
            assert meant in found["detail"]
        twice = await site.client.patch("/twins/pump?ttl=1h&ttl=30s", json={})
        assert problem_of(twice, 422, "invalid-parameter")["detail"] == "query.ttl: this is given more than once"
        assert (await site.client.get("/twins?label=a=1&label=b=2")).status_code == 200, "these must all match"
        assert (await site.client.get("/nodes?namespace=plant-7")).status_code == 200, "clients send it along"
        assert (await site.client.get("/?namespace=plant-7")).status_code == 200, "the page reads it itself"


async def test_the_name_of_a_twin_that_may_be_meant_is_said(monkeypatch):
    async with in_process() as site:
        for method, path in (
            ("GET", "/twins/pmup"),
            ("GET", "/twins/pmup/history?property=a"),
            ("DELETE", "/twins/pmup"),
        ):
            found = problem_of(await site.client.request(method, path), 404, "unknown-twin")
            assert found["detail"] == 'there is no twin pmup (did you mean "pump"?)'
        for path in ("/twins/boiler", "/twins/pump?namespace=plant-7"):
            found = problem_of(await site.client.get(path), 404, "unknown-twin")
            assert "did you mean" not in found["detail"]
        monkeypatch.setattr("twingateway.api.handlers.MOST_NAMES", 0)
        crowded = problem_of(await site.client.get("/twins/pmup"), 404, "unknown-twin")
        assert crowded["detail"] == "there is no twin pmup"


async def test_of_a_damaged_store_a_client_hears_what_the_node_does_about_it(monkeypatch):
    async with in_process() as site:

        async def damaged(*_):
            raise StoreCorrupt("the store's file is damaged; restore a backup, or move it away")

        monkeypatch.setattr(type(site.gateway.store), "last_point", damaged)
        answered = await site.client.get("/twins/pump/history?property=level")
        said = problem_of(answered, 500, "store-corrupt")["detail"]
        assert "move it away" not in said
        assert "by itself" in said


async def test_a_ttl_that_makes_no_sense_is_refused_in_plain_words():
    async with in_process() as site:
        for ttl, said in (("0.000000s", "is over at once"), ("9999d", "at most 366d, not 9999d")):
            refused = await site.client.patch(f"/twins/pump?ttl={ttl}", json={})
            detail = problem_of(refused, 422, "invalid-document")["detail"]
            assert said in detail
            assert "0.000" not in detail


async def test_a_fault_of_ours_tells_nothing_of_the_inside(monkeypatch):
    async with in_process() as site:

        def broken(*_):
            raise RuntimeError("secret-inner-state")

        monkeypatch.setattr(type(site.gateway.queries), "twin", broken)
        answered = await site.client.get("/twins/pump")
        problem_of(answered, 500, "internal")
        assert "secret-inner-state" not in answered.text


async def test_a_full_store_is_told_as_such(monkeypatch):
    async with in_process() as site:

        async def full(*_, **__):
            raise StoreFull("the disk is full")

        monkeypatch.setattr(type(site.gateway.store), "commit", full)
        patch = {"spec": {"desiredProperties": {"speed": 1}}}
        problem_of(await site.client.patch("/twins/pump", json=patch), 507, "store-full")
        problem_of(await site.client.get("/readyz"), 503, "store-full")
        assert (await site.client.get("/healthz")).status_code == 200
        assert "twingateway_store_refusing 1.0" in (await site.client.get("/metrics")).text
        assert (await site.client.get("/twins/pump")).status_code == 200, "reading goes on"
