"""What the page at `/` does, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.api import browser as chromium
from tests.api.site import Site, served
from tests.fair_time import PATIENCE
from tests.node.sites import free_port
from twingateway.api.server import ApiServer
from twingateway.errors import DeviceTimeout

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed")

#: What is in each row that can be seen.
ROWS = "[...document.querySelectorAll('#rows tr:not([hidden])')].map(row => [...row.cells].map(td => td.innerText))"
STATE = "document.getElementById('state').innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


class Shown:
    """The page, without holding up the loop in which its node is."""

    def __init__(self, page: chromium.Page) -> None:
        self._page = page

    async def value(self, script: str) -> Any:
        return await asyncio.to_thread(self._page.value, script)

    async def until(self, script: str, expected: object) -> None:
        said: Any = None
        try:
            async with asyncio.timeout(PATIENCE / 10):
                while (said := await self.value(script)) != expected:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{script} is {said!r}, not {expected!r}") from None


@asynccontextmanager
async def shown(
    browser: chromium.Browser, query: str = "", **how: Any
) -> AsyncIterator[tuple[Shown, Site, ApiServer]]:
    async with served(**how) as (site, server):
        page = await asyncio.to_thread(browser.open, f"{site.client.base_url}{query}")
        yield Shown(page), site, server
        problems, browser.problems[:] = browser.problems[:], []
        assert problems == []


async def test_it_lists_the_twins_and_follows_them(browser: chromium.Browser) -> None:
    async with shown(browser) as (page, site, _):
        await page.until(ROWS, [["pump", "online", "", "cloud", "flow 1.5", ""]])
        await page.until(STATE, "live")
        await page.until("document.getElementById('counts').innerText", "1 in all, 1 online")

        site.pump.say(flow=2.5, label="<img src=x> & more")
        await page.until(ROWS, [["pump", "online", "", "cloud", "flow 2.5label <img src=x> & more", ""]])
        assert await page.value("document.querySelectorAll('img').length") == 0, "what a device says is no markup"

        await site.client.patch("/twins/pump", json={"spec": {"desiredProperties": {"speed": 3}}})
        await page.until("document.querySelector('#rows tr')?.cells[5].innerText", "speed 3 applied")

        assert site.pump.port is not None
        site.pump.port.offline(DeviceTimeout("no answer"))
        await page.until("document.querySelector('#rows tr')?.cells[1].innerText", "offline\nno answer")
        await page.until("document.querySelector('.value.bad')?.title", "device-timeout: no answer")

        twin = {"apiVersion": "edge.iot.org/v1", "kind": "DeviceTwin", "metadata": {"name": "fan"}, "spec": {}}
        await site.client.put("/twins/fan", json=twin)
        await page.until(f"{ROWS}.map(row => row[0])", ["fan", "pump"])
        await page.value("document.getElementById('filter').value = 'OFFLINE'")
        await page.value("document.getElementById('filter').dispatchEvent(new Event('input'))")
        await page.until(f"{ROWS}.map(row => row[0])", ["pump"])
        await site.client.delete("/twins/pump")
        await page.until(f"{ROWS}.map(row => row[0])", [])


async def test_it_asks_for_the_token_and_shows_nothing_without(browser: chromium.Browser) -> None:
    def give(token: str) -> str:
        return f"document.getElementById('token').value = '{token}'; document.getElementById('ask').requestSubmit()"

    async with shown(browser, token="secret") as (page, _, _):
        await page.until("document.getElementById('ask').hidden", False)
        assert await page.value(ROWS) == []
        await page.value(give("guess"))
        await page.until("document.getElementById('refused').innerText", "That is not its token.")
        assert await page.value(ROWS) == []
        await page.value(give("secret"))
        await page.until(f"{ROWS}.map(row => row[0])", ["pump"])
        assert await page.value("document.getElementById('ask').hidden")
        assert await page.value("document.getElementById('token').value") == ""


async def test_when_its_node_is_gone_it_says_so_and_when_that_is_back_it_knows_what_has_happened(
    browser: chromium.Browser,
) -> None:
    async with shown(browser, "?namespace=default", port=free_port()) as (page, site, server):
        await page.until(STATE, "live")
        assert await page.value("document.title") == "Twins of default"
        await page.until("document.querySelector('#rows tr')?.cells[4].innerText", "flow 1.5")
        again = ApiServer(site.gateway, *server.address, token=None)
        await server.stop()
        await page.until(f"{STATE}.split(';')[0]", "not connected")
        site.pump.say(flow=9.5)
        await again.start()
        try:
            await page.until(STATE, "live")
            await page.until("document.querySelector('#rows tr')?.cells[4].innerText", "flow 9.5")
        finally:
            await again.stop()
