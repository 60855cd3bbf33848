"""With a token, hello and state follow CONNECT at once; gateways over memory links with a long way between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from twingateway.gateway.peering import uplink
from twingateway.gateway.peering.acceptor import Acceptor
from twingateway.gateway.peering.uplink import UplinkCarrier
from twingateway.mqtt.auth import TokenBook
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")
DELAY = 0.03


@pytest.fixture
def carriers(monkeypatch: pytest.MonkeyPatch) -> list[UplinkCarrier]:
    """Every connection that the edge makes, the newest last."""
    made: list[UplinkCarrier] = []
    connected = UplinkCarrier.connected

    def note(self: UplinkCarrier, link: Any, now: float) -> None:
        made.append(self)
        connected(self, link, now)

    monkeypatch.setattr(UplinkCarrier, "connected", note)
    return made


def acceptor(node: MemoryNode) -> Acceptor:
    owner = node.listener._make_handler.__self__  # type: ignore[attr-defined]
    assert isinstance(owner, Acceptor)
    return owner


def flow(node: MemoryNode) -> object:
    return node.gateway.table.value(PUMP, Section.REPORTED, "flow")


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[MemoryNode, MemoryNode]]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1})
    edge.path.delay = DELAY
    async with cloud.running(), edge.running(cloud):
        await until(lambda: flow(cloud) == 1)
        parent = edge.gateway.peers.parent
        assert parent is not None
        await until(lambda: not parent.session.outbox)
        yield cloud, edge


async def relink(edge: MemoryNode, cloud: MemoryNode, meanwhile: Callable[[], None]) -> None:
    """Break the link, let something happen, and wait for the first value on the next one."""
    for link in cloud.listener.links:
        link.drop()
    await until(lambda: edge.gateway.peers.parent is not None and edge.gateway.peers.parent.line is None)
    meanwhile()
    edge.machines["pump"].say(flow=2)
    await until(lambda: flow(cloud) == 2)


@pytest.mark.parametrize("room", [1170, 0])
async def test_with_a_token_the_parent_has_the_state_before_its_answer_is_here(carriers, room: int) -> None:
    """Also on a link without datagrams, as over TLS."""
    async with linked() as (cloud, edge):
        edge.path.datagram_room = room
        await relink(edge, cloud, lambda: None)
        assert not carriers[-1].opened, "the value came behind CONNECT, not behind CONNACK"
        await until(lambda: carriers[-1].opened and not carriers[-1].quiet)
        assert len(carriers) == 2


async def test_a_dial_that_is_dropped_before_its_answer_leaves_a_token_for_the_next(carriers) -> None:
    async with linked() as (cloud, edge):
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: len(carriers) == 2)
        dropped = carriers[1]
        assert not dropped.opened
        dropped.give_way()
        parent = edge.gateway.peers.parent
        assert parent is not None
        assert parent.line is None, "the session does not wait with it"
        await until(lambda: len(carriers) == 3)
        edge.machines["pump"].say(flow=2)
        await until(lambda: flow(cloud) == 2)
        assert not carriers[2].opened, "the value came behind CONNECT, not behind CONNACK"


async def test_a_dropped_dial_that_nobody_answers_is_closed_all_the_same(carriers, monkeypatch) -> None:
    monkeypatch.setattr(uplink, "TOKEN_PATIENCE", 0.05)
    async with linked() as (cloud, edge):
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: len(carriers) == 2)
        edge.path.cut_down = True
        carriers[1].give_way()
        await until(lambda: carriers[1]._link is None)


async def test_a_token_that_is_no_good_costs_a_round_trip_and_nothing_else(carriers) -> None:
    async with linked() as (cloud, edge):
        await relink(edge, cloud, lambda: setattr(acceptor(cloud), "tokens", TokenBook()))
        assert len(carriers) == 2, "on the same link"
        await until(lambda: carriers[-1].opened)
        edge.machines["pump"].say(flow=3)
        await until(lambda: flow(cloud) == 3)
        written = await cloud.gateway.commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 4}}})
        await cloud.gateway.commands.settled(PUMP, written.desired, 5.0)


async def test_a_child_that_may_not_come_in_any_more_has_changed_nothing(carriers) -> None:
    async with linked() as (cloud, edge):
        for link in cloud.listener.links:
            link.drop()
        acceptor(cloud)._allowed = frozenset({"somebody-else"})
        edge.machines["pump"].say(flow=2)
        await until(lambda: len(carriers) == 3, 10)
        assert flow(cloud) == 1
        assert edge.gateway.peers.parent is not None
        assert edge.gateway.peers.parent.session.outbox
        acceptor(cloud)._allowed = None
        await until(lambda: flow(cloud) == 2, 15)


async def test_another_node_at_the_parents_address_gets_no_session(carriers) -> None:
    async with linked() as (cloud, _):
        acceptor(cloud).node = "impostor"
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: len(carriers) == 2 and carriers[1]._link is None)
        assert not carriers[1].opened, "it is not the node that gave the token"
