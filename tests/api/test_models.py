"""Models over HTTP: immutable by name and version."""

from __future__ import annotations

import copy

from tests.api.site import in_process, problem_of

LAMP = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceModel",
    "metadata": {"name": "lamp", "version": "1"},
    "spec": {"properties": {"level": {"type": "integer", "minimum": 0, "maximum": 10, "access": "read-write"}}},
}
URL = "/models/lamp/versions/1"


async def test_a_model_is_stored_once_and_read_back():
    async with in_process() as site:
        created = await site.client.put(URL, json=LAMP)
        again = await site.client.put(URL, json=LAMP)
        read = await site.client.get(URL)
        assert (created.status_code, again.status_code, read.status_code) == (201, 200, 200)
        assert created.headers["etag"] == again.headers["etag"] == read.headers["etag"]
        assert read.json() == LAMP
        listed = (await site.client.get("/models")).json()["items"]
        assert [(m["name"], m["version"], m["properties"]) for m in listed] == [("lamp", "1", 1)]
        assert read.headers["etag"] == f'"{listed[0]["digest"]}"'


async def test_another_content_under_the_same_name_is_a_conflict():
    async with in_process() as site:
        await site.client.put(URL, json=LAMP)
        other = copy.deepcopy(LAMP)
        other["spec"]["properties"]["level"]["maximum"] = 99
        problem_of(await site.client.put(URL, json=other), 409, "model-conflict")
        assert (await site.client.get(URL)).json() == LAMP


async def test_a_model_of_another_name_than_the_url_or_none_at_all_is_refused():
    async with in_process() as site:
        answer = await site.client.put("/models/lamp/versions/2", json=LAMP)
        assert "lamp@1" in problem_of(answer, 422, "invalid-document")["detail"]
        for nonsense in (
            [],
            {},
            {"kind": "DeviceTwin"},
            {**LAMP, "spec": {"properties": {"level": {"type": "odd"}}}},
        ):
            assert problem_of(await site.client.put(URL, json=nonsense), 422, "invalid-document")["problems"]
        numbered = {**LAMP, "metadata": {"name": "lamp", "version": 1}}
        problem = problem_of(await site.client.put(URL, json=numbered), 422, "invalid-document")
        assert [each["path"] for each in problem["problems"]] == ["metadata.version"], "a version is a text"
        problem_of(await site.client.get(URL), 404, "unknown-model")
        problem_of(await site.client.get("/models/%20/versions/1"), 422, "invalid-parameter")


async def test_a_namespace_has_models_of_its_own():
    async with in_process() as site:
        await site.client.put(f"{URL}?namespace=acme", json=LAMP)
        problem_of(await site.client.get(URL), 404, "unknown-model")
        assert (await site.client.get(f"{URL}?namespace=acme")).status_code == 200


async def test_a_desired_value_that_the_model_refuses_changes_nothing():
    async with in_process() as site:
        await site.client.put(URL, json=LAMP)
        twin = {
            "apiVersion": "edge.iot.org/v1",
            "kind": "DeviceTwin",
            "metadata": {"name": "desk"},
            "spec": {"model": "lamp@1", "desiredProperties": {"level": 3}},
        }
        assert (await site.client.put("/twins/desk", json=twin)).status_code == 201
        for value, rule in ((11, "maximum"), ("high", "type"), (2.5, "type")):
            patch = {"spec": {"desiredProperties": {"level": value}}}
            problem = problem_of(await site.client.patch("/twins/desk", json=patch), 422, "invalid-value")
            assert (problem["problems"][0]["path"], problem["problems"][0]["rule"]) == ("level", rule)
        assert (await site.client.get("/twins/desk/desired")).json() == {"level": 3}
