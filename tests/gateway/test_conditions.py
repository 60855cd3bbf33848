"""`If-Match` on every write: a write that is based on an outdated version of a twin changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.workbench import PUMP, Bench, bench
from twingateway.errors import UnknownTwin, VersionMismatch
from twingateway.gateway.twins.commands import ANY
from twingateway.twin.document import API_VERSION
from twingateway.twin.register import Section, Version
from twingateway.twin.value import Value


def document(**properties: Value) -> dict[str, Any]:
    spec = {"desiredProperties": properties}
    return {"apiVersion": API_VERSION, "kind": "DeviceTwin", "metadata": {"name": "pump"}, "spec": spec}


def state(b: Bench) -> tuple[dict[str, Value], dict[str, Value]]:
    table = b.gateway.table
    return table.values(PUMP, Section.DESIRED), table.values(PUMP, Section.TAGS)


async def test_labels_and_desired_properties_have_one_version() -> None:
    async with bench() as b:
        commands, queries = b.gateway.commands, b.gateway.queries
        await commands.put(document(speed=1), "default")
        first = queries.version(PUMP)
        await commands.patch(PUMP, {"metadata": {"labels": {"site": "north"}}}, first)
        second = queries.version(PUMP)
        assert second > first
        with pytest.raises(VersionMismatch) as caught:
            await commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": 2}}}, first)
        assert caught.value.detail["current"] == str(second)
        assert state(b) == ({"speed": 1}, {"site": "north"})
        await commands.patch(PUMP, {"spec": {"desiredProperties": {"speed": None}}}, second)
        assert queries.version(PUMP) > second, "removing is a change too"


async def test_put_and_delete_compare_before_they_change_anything() -> None:
    async with bench() as b:
        commands, queries = b.gateway.commands, b.gateway.queries
        await commands.put(document(speed=1), "default")
        old = queries.version(PUMP)
        await commands.put(document(speed=2), "default", old)
        with pytest.raises(VersionMismatch):
            await commands.put(document(speed=3), "default", old)
        with pytest.raises(VersionMismatch):
            await commands.delete(PUMP, old)
        assert state(b) == ({"speed": 2}, {})
        await commands.delete(PUMP, queries.version(PUMP))
        assert not queries.exists(PUMP)


async def test_with_a_condition_nothing_is_created() -> None:
    async with bench() as b:
        commands, queries = b.gateway.commands, b.gateway.queries
        for condition in (ANY, Version(1, 1, 1)):
            with pytest.raises(VersionMismatch) as caught:
                await commands.put(document(speed=1), "default", condition)
            assert caught.value.detail["current"] is None
            with pytest.raises(UnknownTwin):
                await commands.delete(PUMP, condition)
        assert not queries.exists(PUMP)
        await commands.put(document(speed=1), "default")
        await commands.put(document(speed=2), "default", ANY)
        assert state(b) == ({"speed": 2}, {})


async def test_a_version_of_a_deleted_twin_never_matches_its_successor() -> None:
    async with bench() as b:
        commands, queries = b.gateway.commands, b.gateway.queries
        await commands.put(document(), "default")
        empty = queries.version(PUMP)
        await commands.delete(PUMP)
        await commands.put(document(), "default")
        assert queries.version(PUMP) > empty
        with pytest.raises(VersionMismatch):
            await commands.delete(PUMP, empty)
