"""Since when a value was not to be relied on is part of its history, as its holder saw it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.twins.test_retention import DOCUMENT
from twingateway.errors import DeviceReplyInvalid, DeviceTimeout
from twingateway.gateway.state.journal import JournalPolicy, WithHistory
from twingateway.gateway.twins.history import Reading
from twingateway.ports.journal import Span
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.parse_model import parse_model
from twingateway.twin.quality import MARKS
from twingateway.twin.register import Section

PUMP = DeviceId("default", "pump")


@pytest.fixture
def cloud() -> MemoryNode:
    return MemoryNode("cloud")


@pytest.fixture
def edge() -> MemoryNode:
    node = MemoryNode("edge")
    node.journal = JournalPolicy(history=WithHistory.ALL)
    node.machines["pump"] = FakeMachine({"flow": 1.5, "level": 7})
    return node


@asynccontextmanager
async def running(cloud: MemoryNode, edge: MemoryNode) -> AsyncIterator[None]:
    async with cloud.running(), edge.running(cloud):
        yield


async def read(node: MemoryNode, name: str = "flow") -> list[Reading]:
    found, rest = await node.gateway.history.readings(Span(PUMP, name, 0, 1 << 50), None, 100)
    assert rest is None
    return found


async def told(node: MemoryNode, *expected: object, name: str = "flow") -> None:
    """Wait until its history there says so: values, and codes of what was wrong."""
    said: list[object] = []
    for _ in range(2000):
        said = [each.value if each.reason is None else each.reason.code for each in await read(node, name)]
        if said == list(expected):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} at {node.name}: {said}, not {list(expected)}")


def port_of(edge: MemoryNode) -> Any:
    port = edge.machines["pump"].port
    assert port is not None
    return port


async def test_a_device_that_was_away_ends_each_of_its_values_until_it_is_back(
    cloud: MemoryNode, edge: MemoryNode
) -> None:
    async with running(cloud, edge):
        await told(cloud, 1.5)
        port_of(edge).offline(DeviceTimeout("no answer"))
        for name, value in edge.machines["pump"].values.items():
            await told(cloud, value, "device-timeout", name=name)
        edge.machines["pump"].say(flow=1.5, level=8)
        await told(cloud, 1.5, "device-timeout", 1.5)
        await told(cloud, 7, "device-timeout", 8, name="level")


async def test_a_property_that_cannot_be_read_ends_its_own_value_only(cloud: MemoryNode, edge: MemoryNode) -> None:
    async with running(cloud, edge):
        await told(cloud, 1.5)
        port_of(edge).quality({"flow": DeviceReplyInvalid("flow: no number")})
        await told(cloud, 1.5, "device-reply-invalid")
        port_of(edge).report({"level": float("nan")})
        await told(cloud, 7, "value-refused", name="level")
        port_of(edge).report({"flow": 2.5})
        await told(cloud, 1.5, "device-reply-invalid", 2.5)
        assert len(await read(cloud, "level")) == 2


async def test_what_happened_while_the_node_was_not_heard_is_told_later(cloud: MemoryNode, edge: MemoryNode) -> None:
    async with running(cloud, edge):
        await told(cloud, 1.5)
        edge.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "unreachable")
        port_of(edge).offline(DeviceTimeout("no answer"))
        await until(lambda: edge.gateway.queries.presence(PUMP).state == "offline")
        port_of(edge).report({"flow": 3.5})
        assert len(await read(cloud)) == 1, "that a node is not heard is not its devices' affair"
        edge.path.cut = False
        await told(cloud, 1.5, "device-timeout", 3.5)


async def test_what_was_bad_in_a_former_life_is_ended_by_the_first_word_in_this_one(
    cloud: MemoryNode, edge: MemoryNode
) -> None:
    async with cloud.running():
        async with edge.running(cloud):
            await told(cloud, 1.5)
            port_of(edge).offline(DeviceTimeout("no answer"))
            await told(cloud, 1.5, "device-timeout")
        async with edge.running(cloud):
            await told(cloud, 1.5, "device-timeout", 1.5)


async def test_marks_are_made_of_properties_with_history_only(cloud: MemoryNode, edge: MemoryNode) -> None:
    edge.journal = None
    async with cloud.running(), edge.running(cloud, models={"pump": "pump@1"}) as gateway:
        await until(lambda: len(cloud.gateway.table.section(PUMP, Section.REPORTED)) == 2)
        port_of(edge).offline(DeviceTimeout("no answer"))
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "offline")
        assert cloud.disk.journal.history == {}, "nobody says that anything is to have history"

        await gateway.models.add("default", parse_model(DOCUMENT))
        await until(lambda: cloud.gateway.queries.presence(PUMP).state == "online")
        port_of(edge).quality({each: DeviceReplyInvalid(f"{each}: no number") for each in ("flow", "level")})
        await told(cloud, 1.5, "device-reply-invalid")
        await until(lambda: len(cloud.disk.journal.history[PUMP, MARKS]) >= 2)
        newest: Any = cloud.disk.journal.history[PUMP, MARKS][-1].value
        assert set(newest["bad"]) == {"flow"}
