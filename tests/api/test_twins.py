"""Twins over HTTP: reading, filtering, patching, waiting, replacing, deleting."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.site import in_process, node_with_pump, problem_of
from twingateway.errors import DeviceUnreachable
from twingateway.testing.joined import MemoryNode, until
from twingateway.twin.ack import AckState
from twingateway.twin.identity import DeviceId

PUMP = DeviceId("default", "pump")


def desired(**values):
    return {"spec": {"desiredProperties": values}}


def document(name, **spec):
    return {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": name}, "spec": spec}


async def test_a_twin_is_its_document_and_its_status():
    async with in_process() as site:
        await until(lambda: site.gateway.queries.presence(PUMP).state == "online")
        twin = (await site.client.get("/twins/pump")).json()
        assert twin["kind"] == "DeviceTwin"
        assert twin["spec"] == {"desiredProperties": {}, "reportedProperties": {"flow": 1.5}}
        status = twin["status"]
        assert status["presence"]["state"] == "online"
        assert status["holder"] == "cloud"
        flow = status["properties"]["reported"]["flow"]
        assert flow["version"].count(".") == 2
        assert flow["time"] > 1_600_000_000_000


async def test_what_is_wrong_with_a_device_is_told_by_its_source():
    node = node_with_pump()
    node.machines["pump"].error = DeviceUnreachable("nobody answers at 10.0.0.5")
    async with in_process(node) as site:
        await until(lambda: site.gateway.queries.presence(PUMP).state == "offline")
        source = (await site.client.get("/twins/pump")).json()["status"]["source"]
        assert source["message"] == "nobody answers at 10.0.0.5"
        assert source["next_try"] > source["time"] > 1_600_000_000_000


async def test_the_version_of_the_desired_properties_is_their_etag():
    async with in_process() as site:
        before = await site.client.get("/twins/pump/desired")
        assert (before.json(), before.headers["etag"]) == ({}, '"1.0.0"')
        patched = await site.client.patch("/twins/pump", json=desired(speed=20))
        after = await site.client.get("/twins/pump/desired")
        assert after.json() == {"speed": 20}
        assert after.headers["etag"] == patched.headers["etag"] != before.headers["etag"]


async def test_of_two_writers_with_one_version_the_second_is_told_the_version_that_holds():
    async with in_process() as site:
        etag = (await site.client.get("/twins/pump/desired")).headers["etag"]
        first = await site.client.patch("/twins/pump", json=desired(speed=20), headers={"If-Match": etag})
        second = await site.client.patch("/twins/pump", json=desired(speed=30), headers={"If-Match": etag})
        assert first.status_code == 200
        problem = problem_of(second, 412, "version-mismatch")
        assert second.headers["etag"] == first.headers["etag"] == f'"{problem["current"]}"'
        again = await site.client.patch(
            "/twins/pump", json=desired(speed=30), headers={"If-Match": second.headers["etag"]}
        )
        assert again.json()["spec"]["desiredProperties"] == {"speed": 30}


@pytest.mark.parametrize("tag", ['"yesterday"', '"1.2"', 'W/"1.1.1"', '"1.1.1", "2.2.2"', '"١.1.1"'.encode()])
async def test_an_if_match_that_is_no_version_is_refused(tag):
    async with in_process() as site:
        answer = await site.client.patch("/twins/pump", json=desired(speed=1), headers={"If-Match": tag})
        problem_of(answer, 422, "invalid-document")
        assert (await site.client.get("/twins/pump/desired")).json() == {}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_every_write_is_compared_with_the_version_that_was_read(method):
    async with in_process() as site:
        old = (await site.client.get("/twins/pump")).headers["etag"]
        labelled = await site.client.patch("/twins/pump", json={"metadata": {"labels": {"site": "north"}}})
        body = None if method == "DELETE" else document("pump", desiredProperties={"speed": 2})
        if method == "PATCH":
            body = desired(speed=2)
        refused = await site.client.request(method, "/twins/pump", json=body, headers={"If-Match": old})
        problem_of(refused, 412, "version-mismatch")
        read = await site.client.get("/twins/pump")
        assert refused.headers["etag"] == labelled.headers["etag"] == read.headers["etag"]
        assert read.json()["spec"]["desiredProperties"] == {}
        current = {"If-Match": read.headers["etag"]}
        assert (await site.client.request(method, "/twins/pump", json=body, headers=current)).is_success


async def test_a_condition_on_a_twin_that_does_not_exist_creates_nothing():
    async with in_process() as site:
        answer = await site.client.put("/twins/fan", json=document("fan"), headers={"If-Match": "*"})
        problem_of(answer, 412, "version-mismatch")
        assert "etag" not in answer.headers
        assert (await site.client.get("/twins/fan")).status_code == 404


async def test_a_value_with_a_ttl_that_its_device_did_not_see_in_time_is_expired_and_never_written():
    node = node_with_pump()
    node.machines["pump"].error = DeviceUnreachable("off")
    async with in_process(node) as site:
        answer = await site.client.patch("/twins/pump?ttl=50ms&priority=high&wait=5s", json=desired(speed=20))
        assert answer.status_code == 200
        speed = answer.json()["status"]["properties"]["desired"]["speed"]
        assert (speed["ttl"], speed["priority"], speed["ack"]["state"]) == (0.05, "high", "expired")
        assert answer.json()["spec"]["desiredProperties"] == {"speed": 20}
        site.pump.error = None
        await until(lambda: site.gateway.queries.presence(PUMP).state == "online")
        assert site.pump.written == []


@pytest.mark.parametrize("query", ["ttl=0s", "ttl=soon", "ttl=9999d", "ttl=-1s", "priority=urgent"])
async def test_terms_that_make_no_sense_are_refused_and_nothing_is_set(query):
    async with in_process() as site:
        answer = await site.client.patch(f"/twins/pump?{query}", json=desired(speed=20))
        assert answer.status_code == 422
        assert (await site.client.get("/twins/pump/desired")).json() == {}


async def test_waiting_ends_when_the_device_itself_confirmed():
    async with in_process() as site:
        answer = await site.client.patch("/twins/pump?wait=5s", json=desired(speed=20))
        assert answer.status_code == 200
        ack = answer.json()["status"]["properties"]["desired"]["speed"]["ack"]
        assert (ack["state"], ack["observed"]) == ("applied", 20)
        assert site.pump.written == [("speed", 20)]


@pytest.mark.parametrize(("value", "state"), [("forbidden", "failed"), (20, "delivered")])
async def test_refused_and_unconfirmable_values_are_decided_too(value, state):
    node = node_with_pump()
    node.machines["pump"].confirms = False
    async with in_process(node) as site:
        answer = await site.client.patch("/twins/pump?wait=5s", json=desired(speed=value))
        assert answer.status_code == 200
        assert answer.json()["status"]["properties"]["desired"]["speed"]["ack"]["state"] == state


async def test_waiting_in_vain_is_answered_202_with_what_is_known():
    node = node_with_pump()
    node.machines["pump"].error = DeviceUnreachable("nobody answers")
    async with in_process(node) as site:
        answer = await site.client.patch("/twins/pump?wait=100ms", json=desired(speed=20))
        assert answer.status_code == 202
        await until(lambda: site.gateway.queries.ack(PUMP, "speed").state is AckState.DELIVERED)
        again = await site.client.patch("/twins/pump?wait=100ms", json=desired(speed=20))
        assert again.status_code == 202, "the value was there already, but the device has not taken it"
        ack = again.json()["status"]["properties"]["desired"]["speed"]["ack"]
        assert (ack["state"], ack["code"]) == ("delivered", "device-unreachable")


async def test_one_who_waits_for_a_replaced_value_is_told_so():
    node = node_with_pump()
    node.machines["pump"].error = DeviceUnreachable("nobody answers")
    async with in_process(node) as site:
        waiting = asyncio.create_task(site.client.patch("/twins/pump?wait=20s", json=desired(speed=20)))
        await until(lambda: site.gateway.queries.ack(PUMP, "speed") is not None)
        await site.client.patch("/twins/pump", json=desired(speed=30))
        assert (await waiting).json()["spec"]["desiredProperties"] == {"speed": 30}


async def test_nothing_to_wait_for_is_no_wait():
    async with in_process() as site:
        answer = await site.client.patch("/twins/pump?wait=20s", json={"metadata": {"labels": {"site": "north"}}})
        assert answer.status_code == 200
        assert answer.json()["metadata"]["labels"] == {"site": "north"}


@pytest.mark.parametrize("wait", ["5", "-1s", "soon", ""])
async def test_a_wait_that_is_no_duration_is_refused(wait):
    async with in_process() as site:
        answer = await site.client.patch("/twins/pump", params={"wait": wait}, json=desired(speed=1))
        assert problem_of(answer, 422, "invalid-document")["problems"][0]["path"] == "wait"


async def test_a_merge_patch_reaches_into_objects_and_removes_with_null():
    async with in_process() as site:
        await site.client.patch("/twins/pump", json=desired(plan={"a": 1, "b": 2}, speed=3))
        answer = await site.client.patch("/twins/pump", json=desired(plan={"b": None, "c": 4}, speed=None))
        assert answer.json()["spec"]["desiredProperties"] == {"plan": {"a": 1, "c": 4}}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": {"reportedProperties": {"flow": 9}}}, "spec.reportedProperties"),
        ({"spec": {"model": "pump@2"}}, "spec.model"),
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"status": {"holder": "me"}}, "status.holder"),
        ({"spec": None}, "spec"),
        ({"spec": {"desiredProperties": None}}, "spec.desiredProperties"),
    ],
)
async def test_only_desired_properties_and_labels_may_be_patched(patch, path):
    async with in_process() as site:
        both = {**desired(speed=20), **patch} if "spec" not in patch else patch
        answer = await site.client.patch("/twins/pump", json=both)
        assert problem_of(answer, 422, "read-only-path")["path"] == path
        assert (await site.client.get("/twins/pump/desired")).json() == {}, "then nothing of the patch is taken"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"metadata": {"labels": {"site": 5}}}, "metadata.labels.site"),
        ({"metadata": {"labels": {"site": "x" * 2000}}}, "metadata.labels.site"),
        (desired(**{"": 1}), "spec.desiredProperties"),
        (desired(**{"x" * 200: 1}), "spec.desiredProperties"),
        (desired(big="x" * 70_000), "spec.desiredProperties.big"),
    ],
)
async def test_a_patch_sets_nothing_that_a_document_could_not(patch, path):
    async with in_process() as site:
        answer = await site.client.patch("/twins/pump", json=patch)
        assert problem_of(answer, 422, "invalid-document")["problems"][0]["path"].startswith(path)
        assert (await site.client.get("/twins/pump/desired")).json() == {}


async def test_an_unknown_twin_is_404_for_everyone():
    async with in_process() as site:
        for method, path, body in (
            ("GET", "/twins/nobody", None),
            ("GET", "/twins/nobody/desired", None),
            ("PATCH", "/twins/nobody", desired(speed=1)),
            ("DELETE", "/twins/nobody", None),
        ):
            problem_of(await site.client.request(method, path, json=body), 404, "unknown-twin")


async def test_put_creates_and_replaces_and_ignores_what_only_devices_say():
    async with in_process() as site:
        new = document("lamp", desiredProperties={"on": True, "level": 3}, reportedProperties={"level": 9})
        new["metadata"]["labels"] = {"site": "north"}
        created = await site.client.put("/twins/lamp", json=new)
        assert created.status_code == 201
        assert "reportedProperties" in created.json()["warnings"][0]
        assert created.json()["spec"]["reportedProperties"] == {}
        replaced = await site.client.put("/twins/lamp", json=document("lamp", desiredProperties={"on": False}))
        assert replaced.status_code == 200
        twin = replaced.json()
        assert "warnings" not in twin
        assert twin["spec"]["desiredProperties"] == {"on": False}
        assert "labels" not in twin["metadata"]


async def test_put_takes_no_document_about_another_twin():
    async with in_process() as site:
        answer = await site.client.put("/twins/lamp", json=document("other"))
        assert problem_of(answer, 422, "invalid-document")["problems"][0]["path"] == "metadata.name"
        wrong = await site.client.put("/twins/lamp", json={"kind": "DeviceTwin"})
        assert len(problem_of(wrong, 422, "invalid-document")["problems"]) >= 2, "everything wrong is told at once"


async def test_a_deleted_twin_is_gone_until_it_is_made_again():
    async with in_process() as site:
        await site.client.put("/twins/lamp", json=document("lamp", desiredProperties={"on": True}))
        assert (await site.client.delete("/twins/lamp")).status_code == 204
        problem_of(await site.client.get("/twins/lamp"), 404, "unknown-twin")
        again = await site.client.put("/twins/lamp", json=document("lamp"))
        assert again.status_code == 201
        assert again.json()["spec"]["desiredProperties"] == {}


async def test_a_node_that_is_not_the_root_names_it():
    cloud, edge = MemoryNode("cloud"), node_with_pump("edge")
    async with cloud.running(), in_process(edge, parent=cloud) as site:
        await until(lambda: site.gateway.peers.root_name == "cloud")
        for method, path, body in (
            ("PUT", "/twins/pump", document("pump")),
            ("DELETE", "/twins/pump", None),
            ("POST", "/twins/pump/move", {"node": "edge-2"}),
        ):
            answer = await site.client.request(method, path, json=body)
            problem = problem_of(answer, 409, "not-root")
            assert problem["root"] == "cloud"
            assert "the root, cloud" in problem["detail"]
            assert "--api" in problem["detail"]
            assert ("override" in problem["detail"]) == (method == "PUT"), "no override deletes or moves a device"
        assert (await site.client.get("/twins/pump")).status_code == 200


async def test_a_patch_at_an_edge_is_made_at_the_root_and_shown_at_both():
    cloud, edge = MemoryNode("cloud"), node_with_pump("edge")
    async with cloud.running(), in_process(edge, parent=cloud) as site:
        await until(lambda: cloud.gateway.queries.exists(PUMP))
        answer = await site.client.patch("/twins/pump?wait=5s", json=desired(speed=7))
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"]["properties"]["desired"]["speed"]["ack"]["state"] == "applied"
        assert answer.headers["ETag"] == f'"{cloud.gateway.queries.version(PUMP)}"'
        stale = await site.client.patch("/twins/pump", json=desired(speed=8), headers={"If-Match": '"1.1.1"'})
        assert stale.headers["ETag"] == answer.headers["ETag"]
        problem_of(stale, 412, "version-mismatch")
        wrong = await site.client.patch("/twins/pump", json={"spec": {"reportedProperties": {"flow": 1}}})
        problem_of(wrong, 422, "read-only-path")


async def test_a_patch_at_an_edge_without_its_root_names_both_ways_out():
    async with in_process(node_with_pump("edge"), parent=MemoryNode("cloud")) as site:
        problem = problem_of(await site.client.patch("/twins/pump", json=desired(speed=7)), 503, "root-unreachable")
        assert "override" in problem["detail"]
        assert "when the uplink is back" in problem["detail"]


async def test_a_patch_with_an_id_is_made_once():
    async with in_process() as site:
        tagged = {"Idempotency-Key": "mine"}
        first = await site.client.patch("/twins/pump", json=desired(speed=1), headers=tagged)
        await site.client.patch("/twins/pump", json=desired(speed=2))
        again = await site.client.patch("/twins/pump", json=desired(speed=1), headers=tagged)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json()["spec"]["desiredProperties"] == {"speed": 2}
        other = await site.client.patch("/twins/pump", json=desired(speed=3), headers=tagged)
        problem_of(other, 422, "invalid-document")


async def test_twins_are_listed_page_by_page():
    async with in_process(MemoryNode("cloud")) as site:
        for number in range(5):
            await site.client.put(f"/twins/lamp-{number}", json=document(f"lamp-{number}"))
        names, after = [], ""
        while after is not None:
            page = (await site.client.get("/twins", params={"limit": 2, "after": after})).json()
            assert len(page["items"]) <= 2
            names += [twin["metadata"]["name"] for twin in page["items"]]
            after = page["nextAfter"]
        assert names == [f"lamp-{number}" for number in range(5)]


async def test_twins_are_found_by_label_model_and_presence():
    async with in_process() as site:
        await until(lambda: site.gateway.queries.presence(PUMP).state == "online")
        for name, labels, model in (
            ("a", {"site": "north", "floor": "1"}, "lamp@1"),
            ("b", {"site": "north", "formula": "x=y"}, "lamp@2"),
            ("c", {}, None),
        ):
            new = document(name, **({"model": model} if model else {}))
            new["metadata"]["labels"] = labels
            assert (await site.client.put(f"/twins/{name}", json=new)).status_code == 201

        async def found(**params):
            answer = await site.client.get("/twins", params=params)
            return [twin["metadata"]["name"] for twin in answer.json()["items"]]

        assert await found(label="site=north") == ["a", "b"]
        assert await found(label=["site=north", "floor=1"]) == ["a"]
        assert await found(label="formula=x=y") == ["b"]
        assert await found(model="lamp@2") == ["b"]
        assert await found(presence="online") == ["pump"]
        assert await found(presence="unknown") == ["a", "b", "c"]
        assert await found(presence="unknown", label="site=north", model="lamp@1") == ["a"]
        problem_of(await site.client.get("/twins?label=site"), 422, "invalid-document")
        problem_of(await site.client.get("/twins?presence=asleep"), 422, "invalid-parameter")


async def test_a_namespace_is_a_world_of_its_own():
    async with in_process() as site:
        created = await site.client.put(
            "/twins/pump?namespace=acme", json=document("pump", desiredProperties={"x": 1})
        )
        assert created.status_code == 201
        theirs = (await site.client.get("/twins/pump?namespace=acme")).json()
        assert theirs["metadata"] == {"name": "pump", "namespace": "acme"}
        assert (await site.client.get("/twins/pump/desired")).json() == {}
        listed = (await site.client.get("/twins?namespace=acme")).json()["items"]
        assert len(listed) == 1
        problem_of(await site.client.get("/twins/lamp?namespace=acme"), 404, "unknown-twin")
        problem_of(await site.client.get("/twins?namespace=a/b"), 422, "invalid-parameter")
        problem_of(await site.client.get("/twins?namespace="), 422, "invalid-parameter")
