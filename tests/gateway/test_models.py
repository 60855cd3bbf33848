from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.workbench import FULL, bench, turns
from twingateway.errors import ModelConflict, ProtocolViolation, StoreFull, UnknownModel
from twingateway.gateway.models import read_model
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.model import Model


def document(name: str = "pump", maximum: int = 10) -> Any:
    return {
        "apiVersion": "edge.iot.org/v1",
        "kind": "DeviceModel",
        "metadata": {"name": name, "version": "1"},
        "spec": {"properties": {"flow": {"type": "number", "maximum": maximum}}},
    }


def model(name: str = "pump", maximum: int = 10) -> Model:
    return read_model(document(name, maximum))


async def test_a_model_survives_a_restart() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as b:
        assert await b.gateway.models.add("default", model()) is True
    async with bench(disk=disk) as b:
        assert b.gateway.models.get("default", "pump@1").digest == model().digest
        with pytest.raises(UnknownModel):
            b.gateway.models.get("other", "pump@1")


async def test_the_same_content_again_is_no_news_and_another_is_a_conflict() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", model())
        assert await b.gateway.models.add("default", model()) is False
        with pytest.raises(ModelConflict):
            await b.gateway.models.add("default", model(maximum=99))


async def test_of_two_contents_added_at_once_one_is_refused() -> None:
    async with bench() as b:
        add = b.gateway.models.add
        outcome = await asyncio.gather(
            add("default", model()), add("default", model(maximum=99)), return_exceptions=True
        )
        assert outcome[0] is True
        assert isinstance(outcome[1], ModelConflict)
        assert b.gateway.models.get("default", "pump@1").digest == model().digest


async def test_a_model_that_the_store_refused_is_not_known() -> None:
    async with bench() as b:
        b.store.error = FULL
        with pytest.raises(StoreFull):
            await b.gateway.models.add("default", model())
        assert b.gateway.models.find("default", "pump@1") is None


async def test_peers_are_told_what_is_here_and_of_a_new_model_only_that() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", model("old"))
        _, line = b.child("edge")
        _, foreign = b.child("foreign", "other")
        await b.gateway.models.add("default", model("new"))
        assert [list(body["have"]) for body in line.of("models")] == [["old@1"], ["new@1"]]
        assert foreign.of("models") == []


async def test_an_unknown_model_is_asked_for_and_taken_also_when_the_disk_was_full() -> None:
    async with bench() as b:
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "models", {"have": {"pump@1": model().digest}})
        assert line.of("want-models") == [{"refs": ["pump@1"]}]
        b.store.error = FULL
        b.gateway.sessions.control(edge, "model", {"document": document()})
        await turns(50)
        b.store.error = None
        await until(lambda: b.gateway.models.find("default", "pump@1"))


async def test_a_wanted_model_is_sent_once_however_often_it_is_named() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", model())
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "want-models", {"refs": ["pump@1"] * 1000 + ["none@1", 7, None]})
        assert line.of("model") == [{"document": document()}]


async def test_a_childs_other_content_is_not_taken_and_told() -> None:
    async with bench() as b:
        await b.gateway.models.add("default", model())
        edge, line = b.child("edge")
        b.gateway.sessions.control(edge, "models", {"have": {"pump@1": "ff"}})
        assert line.of("want-models") == []
        assert "edge" in (await b.notice("model-conflict")).message
        b.gateway.sessions.control(edge, "model", {"document": document(maximum=99)})
        await b.notice("model-conflict")
        assert b.gateway.models.get("default", "pump@1").digest == model().digest


async def test_the_roots_content_wins_below() -> None:
    async with bench("edge", root=False) as b:
        await b.gateway.models.add("default", model(maximum=99))
        cloud, line = b.parent()
        b.gateway.sessions.control(cloud, "models", {"have": {"pump@1": model().digest}})
        assert line.of("want-models") == [{"refs": ["pump@1"]}]
        b.gateway.sessions.control(cloud, "model", {"document": document()})
        await until(lambda: b.gateway.models.get("default", "pump@1").digest == model().digest)


@pytest.mark.parametrize("bad", [None, 7, {}, {"kind": "DeviceModel"}, document() | {"spec": {"properties": 7}}])
async def test_a_model_that_is_none_is_a_violation(bad: Any) -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        with pytest.raises(ProtocolViolation):
            b.gateway.sessions.control(edge, "model", {"document": bad})


async def test_models_travel_up_and_down_a_tree() -> None:
    cloud, region, edge = MemoryNode("cloud"), MemoryNode("region"), MemoryNode("edge")
    edge.machines["pump"] = FakeMachine({"flow": 1.5})
    async with cloud.running() as top, region.running(cloud) as middle, edge.running(region) as bottom:
        await bottom.models.add("default", model("from-below"))
        await top.models.add("default", model("from-above"))
        for gateway in (top, middle, bottom):
            await until(lambda gateway=gateway: len(gateway.models.all("default")) == 2)  # type: ignore[misc]
