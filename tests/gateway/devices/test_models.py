from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from tests.gateway.workbench import FULL, bench, turns
from twingateway.errors import (
    InvalidDocument,
    InvalidValue,
    ModelConflict,
    ProtocolViolation,
    StoreFull,
    UnknownModel,
)
from twingateway.gateway.devices.models import read_model
from twingateway.ports.memory_store import MemoryDisk
from twingateway.testing.joined import FakeMachine, MemoryNode, until
from twingateway.twin.model import Model
from twingateway.validation.foreign_model import read_foreign
from twingateway.validation.model import Direction


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


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        {},
        {"kind": "DeviceModel"},
        document() | {"spec": {"properties": 7}},
        document() | {"metadata": {"name": "pump"}},
        document() | {"metadata": {"name": "a b", "version": "1"}},
    ],
)
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


def newer() -> Any:
    """A model as a later version might render it."""
    made = document()
    made["spec"]["aliases"] = {"p": "flow"}
    made["spec"]["properties"] = {
        "flow": {"type": "number", "maximum": 10, "smoothing": {"window": 5}},
        "shape": {"type": "curve", "points": 3},
        "set": {"type": "object", "access": "write", "properties": {"a": {"type": "integer", "log": True}}},
    }
    return made


def digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def test_a_model_of_a_newer_node_is_used_as_far_as_it_is_understood_and_passed_on_whole() -> None:
    disk = MemoryDisk()
    async with bench(disk=disk) as b:
        peer, line = b.child("edge")
        b.gateway.sessions.control(peer, "model", {"document": newer()})
        told = await b.notice("model-not-understood")
        assert told.detail["ignored"] == [
            "spec.aliases",
            "spec.properties.flow.smoothing",
            "spec.properties.set.properties.a.log",
            "spec.properties.shape",
            "spec.properties.shape.points",
        ]
        b.gateway.sessions.control(peer, "models", {"have": {"pump@1": digest_of(newer())}})
        assert line.of("want-models") == [], "it is the same model, though not all of it is understood"
    async with bench(disk=disk) as b:
        kept = b.gateway.models.find("default", "pump@1")
        assert kept is not None
        assert kept.model.digest == digest_of(newer())
        assert sorted(kept.model.properties) == ["flow", "set"]
        with pytest.raises(InvalidValue):
            kept.check("flow", 11, direction=Direction.IN)
        assert kept.check("shape", [1, 2], direction=Direction.IN) == [1, 2]
        peer, line = b.child("edge")
        b.gateway.sessions.control(peer, "want-models", {"refs": ["pump@1"]})
        assert line.of("model") == [{"document": newer()}]


async def test_a_person_is_told_of_members_that_mean_nothing() -> None:
    async with bench() as b:
        with pytest.raises(InvalidDocument):
            await b.gateway.commands.put_model("default", newer())


async def test_the_content_of_an_understood_model_decides_its_digest_however_it_came() -> None:
    understood, ignored = read_foreign(document())
    assert (understood.digest, ignored) == (model().digest, ())
