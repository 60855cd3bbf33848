"""A damaged store is moved aside, the node goes on with a fresh one, and the other side fills it again."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fair_time import PATIENCE
from tests.node.processes import Process
from tests.node.sites import ModbusDevice, free_port, load, write_site
from twingateway.gateway.state.events import Notice
from twingateway.node.run import Node
from twingateway.plugins.registry import AdapterRegistry
from twingateway.twin.entry import EVENT


class Running:
    """A node in this process, with every notice it gave; may be stopped and started again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.notices: list[Notice] = []
        self.node: Node | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        ready = asyncio.Event()
        self.node = Node(load(self.file), AdapterRegistry.installed(), lambda bound: ready.set())
        self._task = asyncio.create_task(self.node.run())
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait([waiting, self._task], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert ready.is_set(), self._task

    async def stop(self) -> None:
        if self.node is not None and self._task is not None:
            self.node.stop()
            await self._task

    @property
    def store(self) -> Path:
        assert self.node is not None
        return load(self.file).config.store_path


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[Running, Running, ModbusDevice, str]]:
    """(cloud, edge, device, the twin's URL): the device settled at 41 in r1, nothing else wanted."""
    listen, api = free_port(), free_port()
    async with ModbusDevice(registers=[7] * 8).serving() as device:
        cloud, edge = map(Running, write_site(folder, device=device.port, listen=listen, api=api))
        url = f"http://127.0.0.1:{api}/twins/plant"
        try:
            await cloud.start()
            await edge.start()
            await until(url, lambda twin: twin["spec"]["reportedProperties"].get("r0") == 7)
            async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
                answer = await client.patch(url, json={"spec": {"desiredProperties": {"r1": 41}}})
                assert answer.status_code in (200, 202)
            await until(url, lambda twin: state(twin, "r1") == "applied")
            yield cloud, edge, device, url
        finally:
            await edge.stop()
            await cloud.stop()


def state(twin: Any, name: str) -> str | None:
    shown = twin["status"]["properties"]["desired"].get(name, {})
    return (shown.get("ack") or {}).get("state")


async def until(url: str, holds: Callable[[Any], object]) -> Any:
    """The twin once it is so."""
    twin: Any = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await client.get(url)
                    twin = answer.json()
                    if answer.status_code == 200 and holds(twin):
                        return twin
                await asyncio.sleep(0.05)
    raise AssertionError(f"not so after {PATIENCE:g} s: {twin}")


def damage(path: Path, page: int = 1) -> None:
    """Flip bits all over one page."""
    content = bytearray(path.read_bytes())
    for offset in range(page * 4096, page * 4096 + 4096, 7):
        content[offset] ^= 0x55
    path.write_bytes(content)


def damage_content(path: Path) -> None:
    """One desired value is another one, in pages that are whole."""
    connection = sqlite3.connect(path)
    changed = connection.execute("UPDATE register SET value = '42' WHERE section = 'desired' AND name = 'r1'")
    assert changed.rowcount == 1
    connection.commit()
    connection.close()


def damage_numbers(path: Path) -> None:
    """The store would issue numbers a second time."""
    connection = sqlite3.connect(path)
    assert connection.execute("UPDATE counter SET reserved = 1").rowcount == 1
    connection.commit()
    connection.close()


async def metric(url: str, name: str) -> float:
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        text = (await client.get(url.replace("/twins/plant", "/metrics"))).text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def times_kept(cloud: Running, name: str) -> int:
    """How often the root has an event, once it has it."""
    assert cloud.node is not None
    assert cloud.node.gateway is not None
    async with asyncio.timeout(PATIENCE):
        while True:
            kept = [placed.entry.name for placed in await cloud.node.gateway.store.kept_page(EVENT, 0, 1000)]
            if name in kept:
                return kept.count(name)
            await asyncio.sleep(0.05)


def is_whole(twin: Any) -> bool:
    desired, reported = twin["spec"]["desiredProperties"], twin["spec"]["reportedProperties"]
    return bool(desired == {"r1": 41} and reported.get("r1") == 41 and state(twin, "r1") == "applied")


@pytest.mark.parametrize("side", ["cloud", "edge"])
@pytest.mark.parametrize("how", [damage, damage_content, damage_numbers])
async def test_a_store_damaged_while_off_is_replaced_and_filled_again(
    tmp_path: Path, side: str, how: Callable[[Path], None]
):
    async with site(tmp_path) as (cloud, edge, device, url):
        hit = cloud if side == "cloud" else edge
        assert hit.node is not None
        assert hit.node.gateway is not None
        await hit.node.gateway.journal.append(EVENT, None, "before", {"message": "told before the damage"})
        await hit.stop()
        how(hit.store)
        await hit.start()
        await until(url, is_whole)
        assert hit.store.with_name(f"{hit.store.name}.corrupt-1").stat().st_size > 4096
        assert hit.node is not None
        assert hit.node.gateway is not None
        assert hit.node.gateway.repair.replacements == 1
        if side == "cloud":
            assert await metric(url, "twingateway_store_replacements_total") == 1
        assert device.written == [(1, 41)], "a finished write is not done again"
        if how is not damage:  # which may have hit just this
            assert await times_kept(cloud, "before") == 1


async def test_damage_found_while_running_replaces_the_store_and_is_told(tmp_path: Path):
    async with site(tmp_path) as (cloud, _, device, url):
        assert cloud.node is not None
        assert cloud.node.gateway is not None
        before = cloud.node.gateway
        store = before.store

        def spoil(connection: sqlite3.Connection) -> None:
            """Outside of a transaction, and in the thread whose connection it is: none is under way meanwhile."""
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            for page in range(1, cloud.store.stat().st_size // 4096):
                damage(cloud.store, page)
            connection.execute("PRAGMA shrink_memory")
            connection.execute("BEGIN")

        await store._writer.submit(spoil)  # type: ignore[attr-defined]
        device.registers[0] = 8  # something to commit
        await until(url, lambda twin: is_whole(twin) and twin["spec"]["reportedProperties"]["r0"] == 8)
        async with asyncio.timeout(PATIENCE):
            while cloud.node.gateway is before or not cloud.store.with_name("cloud.db.corrupt-1").exists():
                await asyncio.sleep(0.05)
        await until(url, is_whole)
        assert await metric(url, "twingateway_store_replacements_total") == 1
        kept = [placed.entry.name for placed in await cloud.node.gateway.store.kept_page("event", 0, 100)]
        assert "store-corrupt" in kept
        assert device.written == [(1, 41)]


@pytest.mark.parametrize("side", ["cloud", "edge"])
async def test_a_store_that_is_removed_under_the_running_node_is_replaced_and_filled_again(tmp_path: Path, side: str):
    """Nothing that is acknowledged after that goes into a file that nobody finds again."""
    async with site(tmp_path) as (cloud, edge, device, url):
        hit = cloud if side == "cloud" else edge
        assert hit.node is not None
        before = hit.node.gateway
        for file in hit.store.parent.glob(f"{hit.store.name}*"):
            file.unlink()
        device.registers[0] = 8  # something to commit
        async with asyncio.timeout(PATIENCE):
            while hit.node.gateway is before:
                await asyncio.sleep(0.05)
        await until(url, lambda twin: is_whole(twin) and twin["spec"]["reportedProperties"]["r0"] == 8)
        assert await times_kept(cloud, "store-corrupt") == 1
        assert hit.node.gateway is not None
        assert hit.node.gateway.repair.replacements == 1
        assert not [*hit.store.parent.glob("*.corrupt-*")]
        await hit.stop()
        await hit.start()
        await until(url, is_whole)
        assert device.written == [(1, 41)], "a finished write is not done again"


@pytest.mark.parametrize("side", ["cloud", "edge"])
async def test_a_process_started_with_a_damaged_store_is_whole_again_and_never_shows_a_wrong_value(
    tmp_path: Path, side: str
):
    listen, api, edge_api = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{api}/twins/plant"
    async with (
        ModbusDevice(registers=[7] * 8).serving() as device,
        httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client,
    ):
        cloud, edge = write_site(tmp_path, device=device.port, listen=listen, api=api)
        edge.write_text(edge.read_text() + f'api: {{address: "127.0.0.1:{edge_api}"}}\n')
        nodes = {"cloud": Process(cloud), "edge": Process(edge)}
        apis = {"cloud": api, "edge": edge_api}
        try:
            await asyncio.gather(*(node.start() for node in nodes.values()))
            await until(url, lambda twin: twin["spec"]["reportedProperties"].get("r0") == 7)
            answer = await client.patch(url, json={"spec": {"desiredProperties": {"r1": 41}}})
            assert answer.status_code in (200, 202)
            await until(url, is_whole)
            await nodes[side].stop()
            store = tmp_path / "data" / f"{side}.db"
            damage_content(store)
            twins = {name: f"http://127.0.0.1:{port}/twins/plant" for name, port in apis.items()}
            shown: set[Any] = set()
            watching = asyncio.create_task(watch(list(twins.values()), shown))
            await nodes[side].start()
            for url in twins.values():
                await until(url, is_whole)
            watching.cancel()
            assert shown in ({41}, {41, None})
            assert store.with_name(f"{store.name}.corrupt-1").exists()
            assert await metric(twins[side], "twingateway_store_replacements_total") == 1
            await until_told(f"http://127.0.0.1:{api}", "store-corrupt", side)
            assert device.written == [(1, 41)], "a finished write is not done again"
        finally:
            for node in nodes.values():
                await node.kill()


async def watch(urls: list[str], shown: set[Any]) -> None:
    """Note everything that is shown of r1."""
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        while True:
            for url in urls:
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await client.get(url)
                    spec = answer.json().get("spec", {}) if answer.status_code == 200 else {}
                    shown.add(spec.get("desiredProperties", {}).get("r1"))
                    shown.add(spec.get("reportedProperties", {}).get("r1"))
            await asyncio.sleep(0.005)


async def until_told(api: str, name: str, node: str) -> None:
    """The root's journal has the event of that node, once."""
    found: list[Any] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            while True:
                items = (await client.get(f"{api}/journal/event")).json()["items"]
                if found := [item["node"] for item in items if item.get("name") == name]:
                    assert found == [node]
                    return
                await asyncio.sleep(0.05)
    raise AssertionError(f"{name} was told by {found}")
