"""What a device refuses is found, remembered across restarts, and stays the only thing that is missing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from twingateway_modbus.address import Transport
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server

from tests.adapters_modbus.simulated import make_adapter, make_driver, serve

ONE = {"table": "holding", "type": "uint16"}
#: Cells 0 to 9 and 14 to 30 exist, but for 20.
PROPERTIES: dict[str, Any] = {f"r{address}": ONE | {"address": address} for address in (0, 3, 9, 14, 16, 20, 22, 30)}


class Site:
    """A device with holes, and what it was asked."""

    def __init__(self, folder: Path | None) -> None:
        memory = Memory()
        for address in (*range(10), *range(14, 20), *range(21, 31)):
            memory.set(Table.HOLDING, address, [100 + address])
        self.folder = folder
        self.asked: list[tuple[int, int]] = []
        self.memory = memory
        self.server = Server({1: memory}, witness=self._witness)
        self.problems: list[str] = []

    def _witness(self, unit: int, pdu: bytes) -> None:
        self.asked.append((int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")))

    async def read(self, times: int = 1) -> dict[str, Any]:
        """By a node that was just started."""
        adapter = make_adapter(self.folder)
        driver, port = make_driver(adapter, await serve(Transport.TCP, self.server), PROPERTIES, name="boiler")
        try:
            for _ in range(times):
                self.asked.clear()
                values = await driver.read()
            self.problems = [problem.message for problem in port.problems]
            return dict(values)
        finally:
            await adapter.stop()

    def close(self) -> None:
        self.server.close()


GOOD = {name: 100 + int(name[1:]) for name in PROPERTIES if name != "r20"}


async def test_only_the_address_that_is_missing_is_missing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert await site.read() == GOOD
    assert [problem.partition(", says")[0] for problem in site.problems] == [
        "r20: illegal data address (2) reading 1 holding register at 20"
    ]
    site.close()


async def test_the_plan_gets_better_until_nothing_but_the_bad_value_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert await site.read(times=4) == GOOD
    assert sorted(site.asked) == [(0, 10), (14, 3), (20, 1), (22, 9)]
    site.close()


async def test_a_restart_asks_for_no_hole_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    port_of_the_first_life = await site.read(times=4)
    learned = sorted(site.asked)
    (file,) = tmp_path.glob("*.json")
    content = json.loads(file.read_text())
    assert content["holes"]["holding"] == [[10, 14], [17, 22]]
    assert content["alone"]["holding"] == [[20, 21]]

    # Its endpoint is another one now, as after a restart of the simulator: told to be the same.
    again = Site(tmp_path)
    adapter = make_adapter(tmp_path)
    address = await serve(Transport.TCP, again.server)
    file.write_text(json.dumps(content | {"unit": f"unit 1 at 127.0.0.1:{address['port']}"}))
    driver, _ = make_driver(adapter, address, PROPERTIES, name="boiler")
    assert await driver.read() == port_of_the_first_life
    assert sorted(again.asked) == learned
    await adapter.stop()
    site.close()
    again.close()


async def test_what_was_learned_of_another_unit_or_is_damaged_counts_for_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.read(times=2)
    (file,) = tmp_path.glob("*.json")
    for content in (
        '{"unit": "unit 9 at nowhere", "holes": {"holding": [[0, 31]]}, "alone": {}}',
        "{",
        '{"unit": 7}',
    ):
        file.write_text(content)
        assert await site.read() == GOOD
    site.close()


async def test_a_value_that_answers_at_last_is_read_with_the_others_again() -> None:
    site = Site(None)
    adapter = make_adapter()
    driver, _ = make_driver(adapter, await serve(Transport.TCP, site.server), PROPERTIES)
    await driver.read()
    site.memory.set(Table.HOLDING, 20, [120])
    assert (await driver.read())["r20"] == 120
    site.asked.clear()
    await driver.read()
    assert (20, 1) not in site.asked
    assert len(site.asked) == 2
    await adapter.stop()
    site.close()


async def test_where_everything_is_refused_something_is_still_asked_in_each_round() -> None:
    site = Site(None)
    adapter = make_adapter()
    properties = {f"r{address}": ONE | {"address": address} for address in (40, 80)}
    driver, port = make_driver(adapter, await serve(Transport.TCP, site.server), properties)
    running = asyncio.ensure_future(driver.run())
    await port.until(lambda r: set(r.bad) == {"r40", "r80"})
    site.asked.clear()
    async with asyncio.timeout(5):
        while len(site.asked) < 6:
            await asyncio.sleep(0.005)
    assert set(site.asked) == {(40, 1), (80, 1)}
    assert port.presence is True
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await adapter.stop()
    site.close()


async def test_no_request_touches_a_forbidden_address_or_leaves_a_readable_range() -> None:
    site = Site(None)
    adapter = make_adapter()
    properties = {name: one for name, one in PROPERTIES.items() if name != "r20"}
    read = {"forbidden": {"holding": [[4, 5]]}, "readable": {"holding": [[0, 9], [14, 19], [21, 40]]}}
    driver, _ = make_driver(adapter, await serve(Transport.TCP, site.server), properties, read=read)
    assert await driver.read() == GOOD
    assert site.asked == [(0, 4), (9, 1), (14, 3), (22, 9)]
    await adapter.stop()
    site.close()
