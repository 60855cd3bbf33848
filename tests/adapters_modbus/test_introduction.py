"""What a device says of itself, as properties."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twingateway_modbus.address import AddressSettings, Transport
from twingateway_modbus.introduction import Introduction
from twingateway_modbus.link import Link
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.server import Server

from tests.adapters_modbus.simulated import make_adapter, make_driver, make_server, serve
from twingateway.adapter import Adapter, Driver
from twingateway.errors import DeviceRefused, DeviceTimeout
from twingateway.testing.device_port import RecordingPort

VALUE = {"v": {"table": "holding", "address": 7, "type": "int16"}}
WANTED = {"maker": "vendor", "type": "product_code", "firmware": "revision"}
SAID = {"maker": "twingateway", "type": "simulator", "firmware": "1"}
IDENTIFY = 43


class Site:
    def __init__(self, server: Server, adapter: Adapter) -> None:
        self.server = server
        self.adapter = adapter
        self.address: dict[str, Any] = {}
        self.asked: list[bytes] = []
        self.running: list[asyncio.Task[None]] = []

    def driver(self, wanted: dict[str, Any] = WANTED) -> tuple[Driver, RecordingPort]:
        return make_driver(self.adapter, self.address, VALUE, identification=wanted)

    def run(self, wanted: dict[str, Any] = WANTED) -> RecordingPort:
        driver, port = self.driver(wanted)
        self.running.append(asyncio.ensure_future(driver.run()))
        return port

    def questions(self) -> int:
        return sum(pdu[0] == IDENTIFY for pdu in self.asked)


class OnlyIdentification(Faults):
    """Every reply is good but that to the question who the device is."""

    def __init__(self, kind: FaultKind, code: int = 0) -> None:
        super().__init__()
        self._fault = Fault(kind, 1.0, code)

    def spoil(self, fault: Any, asked: Any, pdu: bytes, framing: Any) -> Any:
        return super().spoil(self._fault if asked.pdu[0] == IDENTIFY else None, asked, pdu, framing)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    asked: list[bytes] = []
    server = make_server(Transport.TCP, 1, witness=lambda unit, pdu: asked.append(pdu))
    site = Site(server, make_adapter())
    site.asked = asked
    site.address = await serve(Transport.TCP, server)
    yield site
    for each in site.running:
        each.cancel()
    await asyncio.gather(*site.running, return_exceptions=True)
    await site.adapter.stop()
    server.close()


async def test_a_device_is_asked_who_it_is_once_it_is_there(site: Site) -> None:
    port = site.run()
    await port.until(lambda r: r.values == {"v": 7} | SAID)
    site.asked.clear()
    async with asyncio.timeout(5):
        while len(site.asked) < 5:
            await asyncio.sleep(0.01)
    assert site.questions() == 0


async def test_it_is_asked_again_when_it_comes_back(site: Site) -> None:
    port = site.run()
    await port.until(lambda r: r.values == {"v": 7} | SAID)
    site.server.faults[1] = Faults([Fault(FaultKind.SILENCE)])
    await port.until(lambda r: r.presence is False)
    site.server.units[1].objects[2] = b"2.0"
    site.server.faults.clear()
    await port.until(lambda r: r.values.get("firmware") == "2.0", timeout=5)


async def test_a_one_off_read_says_it_too(site: Site) -> None:
    driver, _ = site.driver()
    assert await driver.read() == {"v": 7} | SAID


async def test_what_the_device_does_not_say_is_a_problem_of_that_alone(site: Site) -> None:
    site.server.units[1].objects = {0: b"Acme\0\0", 1: b"X1", 2: b"3", 0x80: b"serial 17"}
    port = site.run({"maker": "vendor", "homepage": "vendor_url", "serial": 0x80})
    await port.until(lambda r: r.values == {"v": 7, "maker": "Acme", "serial": "serial 17"})
    await port.until(lambda r: set(r.bad) == {"homepage"})
    assert port.bad["homepage"].message == "homepage: the device does not say its vendor_url"
    assert port.presence is True


@pytest.mark.parametrize(
    ("kind", "error"), [(FaultKind.SILENCE, DeviceTimeout), (FaultKind.EXCEPTION, DeviceRefused)]
)
async def test_a_device_that_does_not_know_the_question_goes_on_as_if_nothing_had_been(
    site: Site, kind: FaultKind, error: type[Exception]
) -> None:
    site.server.faults[1] = OnlyIdentification(kind, 1)
    port = site.run()
    await port.until(lambda r: set(r.bad) == set(WANTED))
    assert all(isinstance(each, error) for each in port.bad.values())
    site.asked.clear()
    async with asyncio.timeout(5):
        while len(site.asked) < 5:
            await asyncio.sleep(0.01)
    assert port.presence is True
    assert port.offline_error is None
    assert site.questions() == 0


async def test_a_device_that_knows_only_the_lower_levels_is_asked_for_those(site: Site) -> None:
    memory = site.server.units[1]

    class Basic(Faults):
        def spoil(self, fault: Any, asked: Any, pdu: bytes, framing: Any) -> Any:
            refused = asked.pdu[0] == IDENTIFY and asked.pdu[2] > 1
            return super().spoil(Fault(FaultKind.EXCEPTION, 1.0, 3) if refused else None, asked, pdu, framing)

    site.server.faults[1] = Basic()
    memory.objects = {0: b"Acme"}
    driver, _ = site.driver({"maker": "vendor", "serial": 0x80})
    assert await driver.read() == {"v": 7, "maker": "Acme"}
    assert driver.problem_with("serial") == "serial: the device does not say its object 128"  # type: ignore[attr-defined]


async def test_a_garbled_answer_is_asked_for_once_more(site: Site) -> None:
    class Once(Faults):
        spoiled = 0

        def spoil(self, fault: Any, asked: Any, pdu: bytes, framing: Any) -> Any:
            first = asked.pdu[0] == IDENTIFY and not self.spoiled
            self.spoiled += first
            return super().spoil(Fault(FaultKind.FUNCTION) if first else None, asked, pdu, framing)

    site.server.faults[1] = Once()
    port = site.run()
    await port.until(lambda r: r.values == {"v": 7} | SAID)


async def test_one_that_did_not_answer_is_asked_again_later_and_ever_more_seldom(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twingateway_modbus.introduction._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("twingateway_modbus.introduction._LONGEST_PAUSE", 0.03)
    site.server.faults[1] = OnlyIdentification(FaultKind.SILENCE)
    introduction = Introduction({"maker": "vendor"})
    address = AddressSettings.model_validate(site.address)
    link = Link(address)
    pauses = []
    for _ in range(4):
        assert await introduction.ask(link, address) == {}
        pauses.append(introduction.again)
        assert await introduction.ask(link, address) == {}, "not at once"
        await asyncio.sleep(introduction.again or 0)
    assert pauses == [0.01, 0.02, 0.03, 0.03]
    assert site.questions() == 4

    site.server.faults.clear()
    assert await introduction.ask(link, address) == {"maker": "twingateway"}
    assert introduction.again is None
    assert introduction.problems == {}
    link.close()
