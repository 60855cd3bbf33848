from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.holding.test_ownership import document
from tests.gateway.workbench import PUMP, Bench, bench, claim, register, turns
from twingateway.gateway.peering.reach import reach_key
from twingateway.gateway.twins.queries import Filter
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import until
from twingateway.twin.ack import AckState
from twingateway.twin.register import Register, Section, Version


async def created(b: Bench, *names: str, **metadata: Any) -> None:
    for name in names:
        stated = document(name)
        stated["metadata"].update(metadata)
        await b.gateway.commands.put(stated, "default")


def names(b: Bench, **wanted: Any) -> list[str]:
    page = b.gateway.queries.page(Filter("default", **wanted))
    return [item["metadata"]["name"] for item in page.items]  # type: ignore[index,call-overload,misc]


async def held_by(b: Bench, via: str, node: str) -> Any:
    """The pump, held by `node`, which is reached through the child `via`."""
    peer, _ = b.child(via)
    b.gateway.sessions.control(peer, "claim", claim(node, "pump"))
    await until(lambda: b.lifecycle().get("holder") == node)
    state = register("state", {"state": "online", "since": 5}, 3, section=Section.PRESENCE)
    b.gateway.ledger.apply([state], origin=via, then=lambda: None)
    return peer


def reach(node: str, parent: str, state: str, since: int = 9) -> Register:
    return Register(reach_key(node, parent), Version(1, 1, since), {"state": state, "since": since}, 0)


async def test_twins_come_in_pages_in_the_order_of_their_names() -> None:
    async with bench() as b:
        await created(b, *(f"pump-{number:02}" for number in range(25)))
        seen: list[Any] = []
        after: str | None = ""
        while after is not None:
            page = b.gateway.queries.page(Filter("default", after=after, limit=10))
            assert len(page.items) <= 10
            seen += [item["metadata"]["name"] for item in page.items]  # type: ignore[index,call-overload]
            after = page.next_after
        assert seen == [f"pump-{number:02}" for number in range(25)]
        assert b.gateway.queries.page(Filter("other")).items == []


async def test_twins_are_found_by_label_model_and_presence() -> None:
    async with bench() as b:
        await created(b, "north-1", "north-2", labels={"site": "north"})
        await created(b, "south", labels={"site": "south", "line": "1"})
        assert names(b, labels={"site": "north"}) == ["north-1", "north-2"]
        assert names(b, labels={"site": "south", "line": "1"}) == ["south"]
        assert names(b, labels={"site": "south", "line": "2"}) == []
        assert names(b, model="pump@1") == []
        assert names(b, presence="unknown") == ["north-1", "north-2", "south"]


async def test_a_device_is_unreachable_while_its_node_is_and_nobody_had_to_say_so() -> None:
    async with bench() as b:
        edge = await held_by(b, "edge", "edge")
        assert b.gateway.queries.presence(PUMP).state == "online"
        assert names(b, presence="online") == ["pump"]
        b.unlink(edge)
        await until(lambda: b.gateway.queries.presence(PUMP).state == "unreachable")
        b.child("edge")
        await until(lambda: b.gateway.queries.presence(PUMP).state == "online")


async def test_any_hop_that_is_down_makes_what_is_behind_it_unreachable() -> None:
    async with bench() as b:
        region = await held_by(b, "region", "edge")
        apply = b.gateway.ledger.apply
        apply(
            [reach("edge", "district", "up"), reach("district", "region", "up")], origin="region", then=lambda: None
        )
        await turns()
        assert b.gateway.queries.presence(PUMP).state == "online"
        apply([reach("district", "region", "down", 10)], origin="region", then=lambda: None)
        assert b.gateway.queries.presence(PUMP).state == "unreachable"
        apply([reach("district", "region", "up", 11)], origin="region", then=lambda: None)
        assert b.gateway.queries.presence(PUMP).state == "online"
        b.unlink(region)
        await until(lambda: b.gateway.queries.presence(PUMP).state == "unreachable")


async def test_a_node_that_went_to_another_region_is_reached_whatever_the_former_one_says() -> None:
    async with bench() as b:
        await held_by(b, "old", "edge")
        b.child("new")
        apply = b.gateway.ledger.apply
        apply([reach("edge", "old", "up", 900), reach("edge", "new", "up", 7)], origin="new", then=lambda: None)
        apply([reach("edge", "old", "down", 901)], origin="old", then=lambda: None)
        assert b.gateway.queries.presence(PUMP).state == "online"
        apply([reach("edge", "new", "down", 902)], origin="new", then=lambda: None)
        shown = b.gateway.queries.presence(PUMP)
        assert (shown.state, shown.since) == ("unreachable", 902), "since nobody hears it"
        apply([reach("edge", "old", "up", 903)], origin="old", then=lambda: None)
        assert b.gateway.queries.presence(PUMP).state == "online"


async def test_a_region_that_holds_nothing_is_a_hop_like_any_other() -> None:
    async with bench() as b:
        district, _ = b.child("district")
        told = [reach("edge", "region", "up", 1), reach("region", "district", "down", 8)]
        assert b.gateway.inbound.judge_all(district, told) == [None, None]
        b.gateway.ledger.apply(told, origin="district", then=lambda: None)
        b.gateway.sessions.control(district, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        assert b.gateway.queries.presence(PUMP).since == 8


async def test_hops_that_lead_in_a_circle_end() -> None:
    async with bench() as b:
        await held_by(b, "region", "edge")
        circle = [reach("edge", "district", "up"), reach("district", "edge", "up")]
        b.gateway.ledger.apply(circle, origin="region", then=lambda: None)
        assert b.gateway.queries.presence(PUMP).state == "online"


async def test_after_a_restart_no_child_is_there_and_what_children_say_of_theirs_stays() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as b:
        await held_by(b, "region", "edge")
        durable: list[str] = []
        b.gateway.ledger.apply([reach("edge", "region", "up")], origin="region", then=lambda: durable.append("yes"))
        await until(lambda: durable)
    async with bench(disk=disk) as b:
        await until(lambda: b.gateway.queries.presence(PUMP).state == "unreachable")
        await turns()
        stored = b.gateway.table.get(reach_key("edge", "region"))
        assert stored is not None
        assert stored.register.version == Version(1, 1, 9), "its writer is the region"


async def test_an_ack_that_makes_no_sense_leaves_the_twin_readable() -> None:
    async with bench() as b:
        await held_by(b, "edge", "edge")
        await b.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 1}}})
        bad = [
            register("speed", {"state": "applied"}, 9, section=Section.ACK),
            register("model", "no reference", 9, section=Section.PRESENCE),
        ]
        b.gateway.ledger.apply(bad, origin="edge", then=lambda: None)
        b.gateway.queries.twin(PUMP)
        ack = b.gateway.queries.ack(PUMP, "speed")
        assert ack is not None
        assert ack.state is AckState.PENDING


@pytest.mark.parametrize("namespace", ["nodes"])
async def test_nodes_are_no_twins(namespace: str) -> None:
    async with bench() as b:
        b.child("edge")
        await turns()
        assert b.gateway.queries.page(Filter(namespace)).items == []
