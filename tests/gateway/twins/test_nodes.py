"""Which nodes are there, and what they hold."""

from __future__ import annotations

from tests.gateway.twins.test_queries import held_by
from tests.gateway.workbench import PUMP, bench


async def test_nodes_show_who_is_there_and_what_they_hold() -> None:
    async with bench() as b:
        edge = await held_by(b, "edge", "edge")
        view = {node.name: node for node in b.gateway.nodes.all()}
        assert (view["root"].role, view["edge"].state, view["edge"].devices) == ("root", "up", 1)
        b.unlink(edge)
        view = {node.name: node for node in b.gateway.nodes.all()}
        assert view["edge"].state == "down"
        await b.gateway.commands.delete(PUMP)
        assert {node.name: node.devices for node in b.gateway.nodes.all()}["edge"] == 0
