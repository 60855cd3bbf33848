"""Both nodes killed again and again while desired values are set: what the API acknowledged is never lost, and no
value is written to the device twice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from tests.fair_time import PATIENCE
from tests.node.processes import Process
from tests.node.sites import REGISTERS, ModbusDevice, free_port, write_site

KILLS = 2


class Load:
    """Sets each property to ever higher numbers; `acknowledged` is the last that the API said yes to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self._number = 0

    async def set(self, client: httpx2.AsyncClient) -> None:
        """The next property to the next number."""
        self._number += 1
        name, number = f"r{self._number % REGISTERS}", self._number
        self.tried[name] = number
        with suppress(httpx2.HTTPError):
            answer = await client.patch(self.url, json={"spec": {"desiredProperties": {name: number}}})
            if answer.status_code in (200, 202):
                self.acknowledged[name] = number

    async def each(self, client: httpx2.AsyncClient) -> None:
        """Go on until each property was acknowledged once more."""
        before = dict(self.acknowledged)
        while not all(self.acknowledged.get(f"r{n}", 0) > before.get(f"r{n}", 0) for n in range(REGISTERS)):
            await self.set(client)
            await asyncio.sleep(0.02)


async def twin(client: httpx2.AsyncClient, url: str) -> Any:
    with suppress(httpx2.HTTPError):
        answer = await client.get(url)
        if answer.status_code == 200:
            return answer.json()
    return None


def is_settled(document: Any) -> bool:
    desired = document["status"]["properties"]["desired"] if document else {}
    return len(desired) == REGISTERS and all(view["ack"]["state"] == "applied" for view in desired.values())


async def test_nothing_acknowledged_is_lost_and_nothing_is_written_twice(tmp_path: Path) -> None:
    listen, api = free_port(), free_port()
    url = f"http://127.0.0.1:{api}/twins/plant"
    async with (
        ModbusDevice(delay=0.05).serving() as device,
        httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client,
    ):
        files = write_site(tmp_path, device=device.port, listen=listen, api=api)
        nodes = cloud, edge = [Process(file) for file in files]
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            async with asyncio.timeout(PATIENCE):
                while await twin(client, url) is None:
                    await asyncio.sleep(0.05)
            load = Load(url)
            async with asyncio.timeout(PATIENCE):
                for _ in range(KILLS):
                    loading = asyncio.create_task(load.each(client))
                    await asyncio.sleep(0.1)
                    await cloud.kill()
                    await cloud.start()
                    await loading
                    setting = asyncio.create_task(load.set(client))
                    while not device.busy:
                        await asyncio.sleep(0.001)
                    await edge.kill()  # between a write and its answer, and with nothing newer to write
                    await edge.start()
                    await setting
                await load.each(client)
            document: Any = None
            async with asyncio.timeout(PATIENCE):
                while not is_settled(document := await twin(client, url)):
                    await asyncio.sleep(0.1)
        finally:
            for node in nodes:
                await node.kill()
    desired = document["spec"]["desiredProperties"]
    for name, number in load.acknowledged.items():
        assert desired[name] in range(number, load.tried[name] + 1), f"{name}: {number} was acknowledged"
    assert device.registers == [desired[f"r{number}"] for number in range(REGISTERS)]
    assert len(device.written) == len(set(device.written)), "written once each"
    assert len(load.acknowledged) == REGISTERS
