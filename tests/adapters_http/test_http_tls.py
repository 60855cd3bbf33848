"""HTTPS: whose certificate is accepted, and what is said about any other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters_http.http_plant import Plant, reply
from twingateway.errors import DeviceReplyInvalid, DeviceUnreachable
from twingateway.pki.authority import create_authority, issue

POWER = {"power": {"pick": "power"}}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A device whose certificate `ca.crt` in the test's folder vouches for."""
    create_authority(tmp_path)
    issued = issue(tmp_path, "device", hosts=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        redirect = reply(status=302, location="http://127.0.0.1/", connection="close")
        writer.write(redirect if b"/downgrade" in head else reply({"power": 1}, connection="close"))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize("trust", [{"ca_file": "ca.crt"}, {"verify": False}])
async def test_a_certificate_that_is_trusted(
    plant: Plant, tmp_path: Path, url: str, trust: dict[str, object]
) -> None:
    driver, _ = plant.driver(None, POWER, folder=tmp_path, address={"url": url, "timeout": "2s", **trust})
    assert await driver.read() == {"power": 1}


async def test_a_certificate_that_nobody_vouches_for_is_refused_with_the_reason(plant: Plant, url: str) -> None:
    driver, _ = plant.driver(None, POWER, address={"url": url, "timeout": "2s"})
    with pytest.raises(DeviceUnreachable, match=r"GET /: TLS: .*certificate"):
        await driver.read()


async def test_a_redirect_from_https_to_http_is_refused(plant: Plant, tmp_path: Path, url: str) -> None:
    driver, _ = plant.driver(
        None,
        POWER,
        folder=tmp_path,
        address={"url": url, "timeout": "2s", "ca_file": "ca.crt"},
        requests={"status": {"path": "/downgrade"}},
    )
    with pytest.raises(DeviceReplyInvalid, match=r"302 Found to http://127\.0\.0\.1:80, another origin"):
        await driver.read()
