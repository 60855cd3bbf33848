"""Optimistic concurrency: `If-Match` on every way to write, 412 with the version that is current."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.api.site import Site, in_process, problem_of
from tests.api.test_models import LAMP
from tests.api.test_models import URL as LAMP_URL

TWIN = {
    "apiVersion": "edge.iot.org/v1",
    "kind": "DeviceTwin",
    "metadata": {"name": "pump", "labels": {"site": "a"}},
    "spec": {"desiredProperties": {"speed": 5}},
}
WRITES: dict[str, tuple[str, str, Any]] = {
    "desired": ("PATCH", "/twins/pump", {"spec": {"desiredProperties": {"speed": 7}}}),
    "labels": ("PATCH", "/twins/pump", {"metadata": {"labels": {"site": "b"}}}),
    "label removed": ("PATCH", "/twins/pump", {"metadata": {"labels": {"line": None}}}),
    "put": ("PUT", "/twins/pump", TWIN),
    "move": ("POST", "/twins/pump/move", {"node": "edge-2"}),
    "delete": ("DELETE", "/twins/pump", None),
}


async def write(site: Site, name: str, etag: str) -> Any:
    method, url, body = WRITES[name]
    return await site.client.request(method, url, json=body, headers={"If-Match": etag})


async def etag_of(site: Site) -> str:
    etag: str = (await site.client.get("/twins/pump")).headers["etag"]
    return etag


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_on_an_outdated_version_is_refused_with_the_current_one(name: str) -> None:
    async with in_process() as site:
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"line": "1"}}})
        old = await etag_of(site)
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"floor": "2"}}})
        current = await etag_of(site)
        before = (await site.client.get("/twins/pump")).json()
        refused = problem_of(await write(site, name, old), 412, "version-mismatch")
        assert f'"{refused["current"]}"' == current
        after = (await site.client.get("/twins/pump")).json()
        assert (after["metadata"], after["spec"]) == (before["metadata"], before["spec"])
        assert after["status"]["holder"] == "cloud"
        assert (await write(site, name, current)).status_code in (200, 202, 204)


@pytest.mark.parametrize("name", [name for name in WRITES if name != "delete"])
async def test_every_write_gives_the_twin_another_version(name: str) -> None:
    async with in_process() as site:
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"line": "1"}}})
        before = await etag_of(site)
        written = await write(site, name, before)
        assert written.headers["etag"] == await etag_of(site) != before
        problem_of(await write(site, name, before), 412, "version-mismatch")


@pytest.mark.parametrize("name", WRITES)
async def test_of_writers_with_one_version_one_wins(name: str) -> None:
    async with in_process() as site:
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"line": "1"}}})
        etag = await etag_of(site)
        answers = await asyncio.gather(*(write(site, name, etag) for _ in range(5)))
        good = [answer for answer in answers if answer.is_success]
        assert len(good) == 1, Counter(answer.status_code for answer in answers)


async def test_a_model_is_compared_by_its_digest() -> None:
    async with in_process() as site:
        refused = await site.client.put(LAMP_URL, json=LAMP, headers={"If-Match": "*"})
        assert problem_of(refused, 412, "version-mismatch")["current"] is None
        etag = (await site.client.put(LAMP_URL, json=LAMP)).headers["etag"]
        assert (await site.client.put(LAMP_URL, json=LAMP, headers={"If-Match": etag})).status_code == 200
        refused = await site.client.put(LAMP_URL, json=LAMP, headers={"If-Match": '"00"'})
        assert problem_of(refused, 412, "version-mismatch")["current"] == etag.strip('"')


async def test_labels_are_registers_with_versions_of_their_own() -> None:
    async with in_process() as site:
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"site": "a", "line": "1"}}})
        tags = {key.name: stored for key, stored in site.node.disk.registers.items() if key.section == "tags"}
        before = {name: stored.register.version for name, stored in tags.items()}
        await site.client.patch("/twins/pump", json={"metadata": {"labels": {"site": "b", "line": "1"}}})
        tags = {key.name: stored for key, stored in site.node.disk.registers.items() if key.section == "tags"}
        assert tags["site"].register.version > before["site"]
        assert tags["line"].register.version == before["line"], "what did not change keeps its version"
