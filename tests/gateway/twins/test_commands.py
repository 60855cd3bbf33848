from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.devices.test_models import document as model_document
from tests.gateway.holding.test_ownership import document
from tests.gateway.workbench import FULL, PUMP, Bench, bench, claim, register, turns
from twingateway.errors import (
    InvalidDocument,
    InvalidValue,
    NotRoot,
    ReadOnlyPath,
    StoreFull,
    UnknownTwin,
    VersionMismatch,
)
from twingateway.gateway.state.mint import Draft
from twingateway.testing.joined import until
from twingateway.twin.ack import Ack, AckState
from twingateway.twin.desired import Origin
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section, Version
from twingateway.twin.value import Value

MODEL: Any = model_document()
MODEL["spec"]["properties"]["speed"] = {"type": "integer", "maximum": 100, "access": "read-write"}


def desired(**properties: Value) -> Value:
    return {"spec": {"desiredProperties": dict(properties)}}


def values(b: Bench, section: Section = Section.DESIRED) -> dict[str, Value]:
    return b.gateway.table.values(PUMP, section)


async def created(b: Bench, **properties: Any) -> None:
    await b.gateway.commands.put(document("pump", **properties), "default")


async def test_a_patch_merges_and_tells_the_version_of_what_it_changed() -> None:
    async with bench() as b:
        await created(b, speed=1, mode={"a": 1, "b": 2})
        written = await b.gateway.commands.patch(PUMP, desired(speed=1, mode={"b": None, "c": 3}, extra="x"))
        assert set(written.desired) == {"mode", "extra"}, "an equal value is no change"
        assert values(b) == {"speed": 1, "mode": {"a": 1, "c": 3}, "extra": "x"}
        assert max(written.desired.values()) == b.gateway.queries.desired(PUMP)[1]
        await b.gateway.commands.patch(PUMP, desired(extra=None))
        assert "extra" not in values(b)


async def settle(b: Bench, version: Version, state: AckState, observed: Value = None) -> None:
    """The holder says what became of the speed."""
    ack = Ack(version, state, observed=observed).to_value()
    await b.gateway.ledger.write([Draft(RegisterKey(PUMP, Section.ACK, "speed"), ack)])


async def test_an_equal_value_is_wanted_anew_when_it_failed() -> None:
    async with bench() as b:
        await created(b)
        for state in (AckState.FAILED, AckState.REJECTED):
            written = await b.gateway.commands.patch(PUMP, desired(speed=1))
            assert set(written.desired) == {"speed"}
            await settle(b, written.desired["speed"], state)
        written = await b.gateway.commands.patch(PUMP, desired(speed=1))
        assert set(written.desired) == {"speed"}, "it is tried again"
        assert not (await b.gateway.commands.patch(PUMP, desired(speed=1))).desired, "it is being tried"


async def test_an_equal_value_is_wanted_anew_when_the_device_shows_another_one_since() -> None:
    async with bench() as b:
        await created(b)
        commands, speed = b.gateway.commands, RegisterKey(PUMP, Section.REPORTED, "speed")
        written = await commands.patch(PUMP, desired(speed=1))
        await settle(b, written.desired["speed"], AckState.APPLIED, observed=1.0001)
        assert not (await commands.patch(PUMP, desired(speed=1))).desired, "nothing is known but that"
        await b.gateway.ledger.write([Draft(speed, 1.0001)])
        assert not (await commands.patch(PUMP, desired(speed=1))).desired, "the device shows what it took"
        await b.gateway.ledger.write([Draft(speed, 0)])
        written = await commands.patch(PUMP, desired(speed=1), origin=Origin("dora"))
        assert set(written.desired) == {"speed"}
        await b.gateway.ledger.write([Draft(speed, 1)])
        await settle(b, written.desired["speed"], AckState.APPLIED)
        assert not (await commands.patch(PUMP, desired(speed=1))).desired, "an ack need not say what was observed"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": {"reportedProperties": {"flow": 1}}}, "spec.reportedProperties"),
        ({"metadata": {"name": "other"}}, "metadata.name"),
        ({"status": {"presence": {}}}, "status.presence"),
        ({"spec": {"model": "pump@2"}}, "spec.model"),
        ({"spec": None}, "spec"),
        ({"spec": {"desiredProperties": None}}, "spec.desiredProperties"),
    ],
)
async def test_what_a_patch_may_not_touch_is_named_and_nothing_is_written(patch: Value, path: str) -> None:
    async with bench() as b:
        await created(b, speed=1)
        both = {**patch, "spec": {**(patch.get("spec") or {}), "desiredProperties": {"speed": 2}}}  # type: ignore
        with pytest.raises(ReadOnlyPath) as caught:
            await b.gateway.commands.patch(PUMP, patch if path.startswith("spec") and len(path) < 25 else both)
        assert caught.value.detail["path"] == path
        assert values(b) == {"speed": 1}


async def test_of_two_patches_at_once_with_one_version_one_is_told() -> None:
    async with bench() as b:
        await created(b, speed=1)
        _, version = b.gateway.queries.desired(PUMP)
        patch = b.gateway.commands.patch
        one, two = await asyncio.gather(
            patch(PUMP, desired(speed=2), version), patch(PUMP, desired(speed=3), version), return_exceptions=True
        )
        assert values(b) == {"speed": 2}
        assert not isinstance(one, BaseException)
        assert isinstance(two, VersionMismatch)
        assert two.detail["current"] == str(one.desired["speed"])


async def test_what_a_client_wrote_that_gave_up_counts_for_the_next() -> None:
    async with bench() as b:
        await created(b, speed=1)
        _, version = b.gateway.queries.desired(PUMP)
        b.store.gate.clear()
        first = asyncio.create_task(b.gateway.commands.patch(PUMP, desired(speed=2), version))
        await turns()
        second = asyncio.create_task(b.gateway.commands.patch(PUMP, desired(speed=3), version))
        await turns()
        first.cancel()
        await turns()
        b.store.gate.set()
        with pytest.raises(VersionMismatch):
            await second
        assert values(b) == {"speed": 2}
        assert not b.gateway.commands._locks


async def test_labels_are_strings_and_removed_by_null() -> None:
    async with bench() as b:
        await created(b)
        patch = b.gateway.commands.patch
        await patch(PUMP, {"metadata": {"labels": {"site": "north", "line": "2"}}})
        await patch(PUMP, {"metadata": {"labels": {"line": None}}})
        assert values(b, Section.TAGS) == {"site": "north"}
        with pytest.raises(InvalidValue, match="a label is a string"):
            await patch(PUMP, {"metadata": {"labels": {"site": 7}}})


@pytest.mark.parametrize("name", ["", "x" * 129, "bell\x07"])
async def test_names_that_no_twin_may_have_are_refused(name: str) -> None:
    async with bench() as b:
        await created(b)
        with pytest.raises(InvalidValue):
            await b.gateway.commands.patch(PUMP, desired(**{name: 1}))


async def test_desired_values_are_checked_against_the_model_of_the_twin() -> None:
    async with bench() as b:
        await b.gateway.commands.put_model("default", MODEL)
        bad, good = document("pump", speed=101), document("pump", speed=99)
        bad["spec"]["model"] = good["spec"]["model"] = "pump@1"
        with pytest.raises(InvalidValue, match="maximum"):
            await b.gateway.commands.put(bad, "default")
        assert not b.gateway.queries.exists(PUMP), "checked before anything is created"
        await b.gateway.commands.put(good, "default")
        for patch in (desired(speed=101), desired(flow=1), desired(colour="red")):
            with pytest.raises(InvalidValue):
                await b.gateway.commands.patch(PUMP, patch)
        assert values(b) == {"speed": 99}


async def test_a_refused_part_refuses_the_whole_patch() -> None:
    async with bench() as b:
        await created(b, speed=1)
        with pytest.raises(InvalidValue):
            await b.gateway.commands.patch(PUMP, desired(speed=2, other=float("nan")))
        assert values(b) == {"speed": 1}


async def test_put_makes_a_twin_exactly_what_the_document_states() -> None:
    async with bench() as b:
        stated = document("pump", speed=1, mode="eco")
        stated["metadata"]["labels"] = {"site": "north"}
        stated["spec"]["reportedProperties"] = {"flow": 1}
        written = await b.gateway.commands.put(stated, "default")
        assert written.created
        assert any("reportedProperties" in warning for warning in written.warnings)
        assert values(b, Section.REPORTED) == {}
        again = await b.gateway.commands.put(document("pump", speed=2), "default")
        assert not again.created
        assert values(b) == {"speed": 2}
        assert values(b, Section.TAGS) == {}


async def test_creating_is_one_commit() -> None:
    async with bench() as b:
        await created(b, speed=1, mode="eco")
        [commit] = [changes for changes in b.store.commits if changes.registers]
        assert len(commit.registers) == 3


async def test_a_model_is_not_changed_behind_the_back_of_the_device() -> None:
    async with bench() as b:
        await created(b)
        stated = document("pump")
        stated["spec"]["model"] = "other@1"
        written = await b.gateway.commands.put(stated, "default")
        assert any("model" in warning for warning in written.warnings)
        assert b.gateway.queries.model_ref(PUMP) is None


async def test_a_twin_created_again_is_a_new_incarnation_and_takes_nothing_of_the_old() -> None:
    async with bench() as b:
        edge, _ = b.child("edge")
        b.gateway.sessions.control(edge, "claim", claim("edge", "pump"))
        await until(lambda: b.lifecycle().get("holder") == "edge")
        old = register("flow", 1.5, 9)
        b.gateway.ledger.apply([old], origin="edge", then=lambda: None)
        await b.gateway.commands.patch(PUMP, desired(speed=1))
        await b.gateway.commands.delete(PUMP)
        assert not b.gateway.queries.exists(PUMP)
        with pytest.raises(UnknownTwin):
            b.gateway.queries.twin(PUMP)
        with pytest.raises(UnknownTwin):
            await b.gateway.commands.patch(PUMP, desired(speed=2))
        written = await b.gateway.commands.put(document("pump", speed=5), "default")
        assert written.created
        assert written.desired["speed"].incarnation == 2
        assert values(b) == {"speed": 5}
        assert values(b, Section.REPORTED) == {}
        assert b.gateway.inbound.judge(edge, old) is not None


async def test_nothing_happened_when_the_store_refuses() -> None:
    async with bench() as b:
        await created(b, speed=1)
        b.store.error = FULL
        for refused in (
            b.gateway.commands.patch(PUMP, desired(speed=2)),
            b.gateway.commands.delete(PUMP),
            b.gateway.commands.put(document("fan", speed=1), "default"),
        ):
            with pytest.raises(StoreFull):
                await refused
        b.store.error = None
        assert values(b) == {"speed": 1}
        assert not b.gateway.queries.exists(DeviceId("default", "fan"))


async def test_waiting_ends_when_all_acks_are_settled_when_time_is_up_and_when_a_newer_value_comes() -> None:
    async with bench() as b:
        await created(b)
        commands = b.gateway.commands
        written = await commands.patch(PUMP, desired(speed=1))
        assert (await commands.settled(PUMP, written.desired, 0.01))["speed"].state is AckState.PENDING
        waiting = asyncio.create_task(commands.settled(PUMP, written.desired, 5))
        await turns()
        ack = Ack(written.desired["speed"], AckState.APPLIED, observed=1)
        key = RegisterKey(PUMP, Section.ACK, "speed")
        await b.gateway.ledger.write([Draft(key, ack.to_value())], version=Version(1, 0, 0))
        assert (await waiting)["speed"].observed == 1
        await commands.patch(PUMP, desired(speed=2))
        assert (await commands.settled(PUMP, written.desired, 5))["speed"].state is AckState.SUPERSEDED


async def test_whoever_waits_is_let_go_when_the_node_stops() -> None:
    async with bench() as b:
        await created(b)
        written = await b.gateway.commands.patch(PUMP, desired(speed=1))
        waiting = asyncio.create_task(b.gateway.commands.settled(PUMP, written.desired, 60))
        await turns()
        b.gateway.events.close()
        assert (await asyncio.wait_for(waiting, 20))["speed"].state is AckState.PENDING


async def test_locks_are_kept_for_nobody() -> None:
    async with bench() as b:
        for number in range(50):
            await b.gateway.commands.put(document(f"pump-{number}", speed=1), "default")
        assert len(b.gateway.commands._locks) == 0


async def test_only_the_root_writes() -> None:
    async with bench("edge", root=False) as b:
        b.gateway.peers.root_name = "cloud"
        with pytest.raises(NotRoot) as caught:
            await b.gateway.commands.patch(PUMP, desired(speed=1))
        assert caught.value.detail["root"] == "cloud"


async def test_documents_that_are_none_are_refused() -> None:
    async with bench() as b:
        for bad in (None, [], {"kind": "DeviceTwin"}, document("not a name")):
            with pytest.raises((InvalidDocument, InvalidValue)):
                await b.gateway.commands.put(bad, "default")
        with pytest.raises(InvalidDocument):
            await b.gateway.commands.patch(PUMP, [1])
