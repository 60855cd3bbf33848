"""Which values are to be relied on, and why not, as both ends show it; signs of life on their way into the twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.gateway.devices.test_reporter import presence, reporter, version
from tests.gateway.workbench import bench, turns
from twingateway.errors import DeviceRefused, DeviceReplyInvalid, DeviceTimeout
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Section, StoredRegister

PUMP = DeviceId("default", "pump")


def nodes() -> tuple[MemoryNode, MemoryNode]:
    cloud, edge = MemoryNode("cloud"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({f"p{number}": number for number in range(30)})
    return cloud, edge


def status(node: MemoryNode) -> dict[str, Any]:
    """Of the reported properties."""
    queries = node.gateway.queries
    if not queries.exists(PUMP):
        return {}
    found: Any = queries.twin(PUMP)["status"]
    return dict(found["properties"]["reported"])


def shown(node: MemoryNode, name: str = "p0") -> dict[str, Any]:
    """What the twin says of one value beside its version."""
    return {key: value for key, value in status(node).get(name, {}).items() if key in ("quality", "reason")}


def at_both(cloud: MemoryNode, edge: MemoryNode, quality: str, code: str | None = None) -> Callable[[], bool]:
    """Both say so of every value, with the same reason."""

    def hold() -> bool:
        said = [shown(node, f"p{number}") for node in (cloud, edge) for number in range(30)]
        if any(each.get("quality") != quality or each != said[0] for each in said):
            return False
        return code is None or said[0]["reason"]["code"] == code

    return hold


def versions(node: MemoryNode) -> list[object]:
    return [each["version"] for each in status(node).values()]


async def test_while_a_device_is_away_every_value_says_why_and_none_is_written_for_it() -> None:
    """Neither when it goes nor when it comes back with the values that it had."""
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "good"))
        before, lsn = versions(cloud), cloud.gateway.ledger.position
        port = edge.machines["pump"].port
        assert port is not None
        port.offline(DeviceTimeout("unit 3 did not answer within 1 s"))
        await until(at_both(cloud, edge, "bad", "device-timeout"))
        assert shown(cloud)["reason"]["message"] == "unit 3 did not answer within 1 s"

        edge.machines["pump"].say(**edge.machines["pump"].values)
        await until(at_both(cloud, edge, "good"))
        assert versions(cloud) == versions(edge) == before
        assert cloud.gateway.ledger.position - lsn <= 4, "registers: of the device, not of its thirty values"


async def test_an_adapter_that_fails_leaves_no_value_good() -> None:
    cloud, edge = nodes()
    async with cloud.running():
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "good"))
        edge.machines["pump"].error = DeviceTimeout("nobody answers")
        async with edge.running(cloud):
            await until(at_both(cloud, edge, "bad", "device-timeout"))
            edge.machines["pump"].error = None
            await until(at_both(cloud, edge, "good"))


async def test_a_node_that_is_not_heard_leaves_its_values_good_with_itself_only() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "good"))
        edge.path.cut = True
        for link in cloud.listener.links:
            link.drop()
        await until(lambda: shown(cloud)["quality"] == "bad")
        assert shown(cloud)["reason"]["message"] == "the node edge is not heard by cloud"
        assert shown(edge) == {"quality": "good"}
        edge.path.cut = False
        await until(at_both(cloud, edge, "good"))


def sightings(node: MemoryNode) -> list[str | None]:
    """From now on: of each value that the node shows, why it is bad at that moment."""
    seen: list[str | None] = []
    gateway = node.gateway

    def look(stored: StoredRegister) -> None:
        reason = gateway.queries.quality(PUMP).of(stored.register.key.name)
        seen.append(None if reason is None else reason.code)

    gateway.ledger.watch(look, Section.REPORTED)
    return seen


async def test_what_a_device_says_when_it_is_back_is_good_at_first_sight() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "good"))
        machine = edge.machines["pump"]
        assert machine.port is not None
        for again in range(5):
            machine.port.offline(DeviceTimeout("unit 3 did not answer within 1 s"))
            await until(at_both(cloud, edge, "bad", "device-timeout"))
            seen = [sightings(node) for node in (cloud, edge)]
            machine.say(**{f"p{number}": 100 * again + number + 50 for number in range(8)})
            machine.port.report({"p29": 1000 + again})
            machine.port.report({"p29": 2000 + again})
            await until(lambda again=again: cloud.gateway.table.value(PUMP, Section.REPORTED, "p29") == 2000 + again)
            for each in seen:
                assert len(each) >= 9
                assert set(each) == {None}


async def test_what_is_heard_of_a_node_that_is_back_is_good_at_first_sight() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "good"))
        for again in range(5):
            edge.path.cut = True
            for link in cloud.listener.links:
                link.drop()
            await until(lambda: shown(cloud)["quality"] == "bad")
            edge.machines["pump"].say(p0=100 + again)
            seen = sightings(cloud)
            edge.path.cut = False
            await until(lambda again=again: cloud.gateway.table.value(PUMP, Section.REPORTED, "p0") == 100 + again)
            assert set(seen) == {None}


async def test_one_bad_value_is_bad_at_both_ends_and_its_neighbours_are_good() -> None:
    cloud, edge = nodes()
    async with cloud.running(), edge.running(cloud):
        await until(at_both(cloud, edge, "good"))
        port = edge.machines["pump"].port
        assert port is not None
        port.quality({"p1": DeviceReplyInvalid("p1: stands for none of the names")})
        port.report({"p2": float("nan")})
        for node in (edge, cloud):
            await until(lambda node=node: shown(node, "p1").get("quality") == "bad")
            assert shown(node, "p1")["reason"]["message"] == "p1: stands for none of the names"
            await until(lambda node=node: shown(node, "p2").get("quality") == "bad")
            assert shown(node, "p2")["reason"]["code"] == "value-refused"
            assert shown(node, "p3") == {"quality": "good"}
        port.report({"p1": 7, "p2": 8})
        await until(at_both(cloud, edge, "good"))


async def test_what_is_reported_is_good_before_the_driver_says_what_else_is() -> None:
    async with bench() as b:
        port = reporter(b)
        port.quality({"flow": DeviceReplyInvalid("flow: no number"), "level": DeviceRefused("level: refused")})
        port.report({"flow": 1, "level": None})
        await turns()
        assert set(presence(b, "quality")) == {"level"}, "and None is no value"


async def test_what_is_not_good_is_shown_with_its_reason_until_it_is_good_again() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1, "level": 2})
        port.quality({"flow": DeviceReplyInvalid("flow: no number"), "level": DeviceRefused("level: refused")})
        await turns()
        shown = presence(b, "quality")
        assert {name: (entry["code"], entry["message"]) for name, entry in shown.items()} == {
            "flow": ("device-reply-invalid", "flow: no number"),
            "level": ("device-refused", "level: refused"),
        }

        port.quality({"flow": DeviceReplyInvalid("flow: no number")})
        await turns()
        assert presence(b, "quality") == {"flow": shown["flow"]}

        port.quality({})
        await turns()
        assert presence(b, "quality") is None


async def test_a_sign_of_life_is_a_new_version_of_the_same_value() -> None:
    async with bench() as b:
        port = reporter(b)
        port.report({"flow": 1})
        await turns()
        first = version(b, "flow")
        port.report({"flow": 1}, again=True)
        assert version(b, "flow") != first
