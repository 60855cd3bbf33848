"""Giving a device to another node, over HTTP."""

from __future__ import annotations

from tests.api.site import in_process, problem_of


async def test_a_moved_twin_is_held_by_the_node_that_was_named():
    async with in_process() as site:
        moved = await site.client.post("/twins/pump/move", json={"node": "edge-2"})
        assert moved.status_code == 200
        assert moved.json()["status"]["holder"] == "edge-2"


async def test_a_move_says_what_it_needs():
    async with in_process() as site:
        problem = problem_of(await site.client.post("/twins/pump/move", json={}), 422, "invalid-document")
        assert "edge-2" in problem["detail"]
        misspelt = await site.client.post("/twins/pump/move", json={"node": "edge 2"})
        assert problem_of(misspelt, 422, "invalid-document")["problems"][0]["path"] == "node"
        problem_of(await site.client.post("/twins/nobody/move", json={"node": "edge-2"}), 404, "unknown-twin")
