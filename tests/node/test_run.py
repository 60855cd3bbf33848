"""A node from its file: ready, at work, and ended in good order."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.fair_time import PATIENCE
from tests.node.sites import ModbusDevice, free_port, load, write_device, write_site
from twingateway.errors import CertificateError, InvalidConfig, StoreError
from twingateway.node.parts import Bound
from twingateway.node.run import Node
from twingateway.pki.authority import create_authority, issue
from twingateway.plugins.registry import AdapterRegistry
from twingateway.testing.joined import until


@asynccontextmanager
async def running(file: Path) -> AsyncIterator[tuple[Node, Bound]]:
    """A node from its file, ready; ended in good order when left."""
    ready: asyncio.Future[Bound] = asyncio.get_running_loop().create_future()
    node = Node(load(file), AdapterRegistry.installed(), ready.set_result)
    task = asyncio.create_task(node.run())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield node, ready.result()
    node.stop()
    async with asyncio.timeout(PATIENCE):
        await task


async def failing(file: Path) -> Exception:
    """Why this node does not start."""
    node = Node(load(file), AdapterRegistry.installed())
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Exception) as caught:  # which one is what the caller asserts
            await node.run()
    return caught.value


def lone(folder: Path, sections: str) -> Path:
    file = folder / "node.yaml"
    file.write_text("node: {name: lone}\n" + sections)
    return file


async def test_a_node_is_ready_before_its_device_or_its_parent_answer(tmp_path: Path) -> None:
    _, edge = write_site(tmp_path, device=free_port(), listen=free_port())
    async with asyncio.timeout(PATIENCE), running(edge) as (node, _):
        assert node.gateway is not None
        assert node.gateway.peers.parent is None


async def test_what_a_node_was_told_is_durable_when_it_has_ended_and_there_when_it_starts_again(
    tmp_path: Path,
) -> None:
    async with ModbusDevice().serving() as device:
        write_device(tmp_path, device.port)
        file = lone(tmp_path, 'api: {address: "127.0.0.1:0"}\ndevices: [plant.yaml]\n')
        async with running(file) as (_, bound), httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            url = f"http://{bound.api}/twins/plant"
            answer = await client.patch(f"{url}?wait=60s", json={"spec": {"desiredProperties": {"r0": 7}}})
            assert answer.status_code == 200, answer.text
        assert device.registers[0] == 7
        [database] = tmp_path.glob("data/*.db")
        with sqlite3.connect(database) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        async with running(file) as (_, bound), httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            twin = (await client.get(f"http://{bound.api}/twins/plant")).json()
            assert twin["spec"]["desiredProperties"] == {"r0": 7}
            assert twin["status"]["properties"]["desired"]["r0"]["ack"]["state"] == "applied"
        assert device.written == [(0, 7)]


async def test_a_node_ends_in_time_with_an_event_stream_and_a_waiting_client_attached(tmp_path: Path) -> None:
    write_device(tmp_path, free_port())
    file = lone(tmp_path, 'api: {address: "127.0.0.1:0"}\ndevices: [plant.yaml]\n')
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        async with running(file) as (node, bound):
            url = f"http://{bound.api}"
            streaming = asyncio.create_task(client.get(f"{url}/events"))
            patch = {"spec": {"desiredProperties": {"r0": 7}}}
            waiting = asyncio.create_task(client.patch(f"{url}/twins/plant?wait=300s", json=patch))
            await until(lambda: node.gateway is not None and len(node.gateway.events._listeners) == 2)
            began = asyncio.get_running_loop().time()
            node.stop()
        assert asyncio.get_running_loop().time() - began < 150, "it waits for neither"
        await asyncio.gather(streaming, waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ('api: {{address: "127.0.0.1:{port}"}}\n', "api.address"),
        ('webhooks: {{address: "127.0.0.1:{port}"}}\n', "webhooks.address"),
        ('broker: {{listen: "127.0.0.1:{port}"}}\n', "broker.listen"),
        (
            "identity: {{certificate: pki/lone.crt, key: pki/lone.key, ca: pki/ca.crt}}\n"
            'listen: {{address: "127.0.0.1:{port}"}}\n',
            "listen.address",
        ),
    ],
)
async def test_an_address_in_use_is_named_by_its_section(tmp_path: Path, sections: str, named: str) -> None:
    create_authority(tmp_path / "pki")
    issue(tmp_path / "pki", "lone", hosts=["127.0.0.1"])
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        port = free_port()
        tcp.bind(("127.0.0.1", port))
        tcp.listen()
        udp.bind(("127.0.0.1", port))
        error = await failing(lone(tmp_path, sections.format(port=port)))
    assert isinstance(error, InvalidConfig)
    assert error.message.startswith(named)
    assert str(port) in error.message


async def test_a_certificate_of_another_node_is_refused_with_both_names(tmp_path: Path) -> None:
    create_authority(tmp_path / "pki")
    issue(tmp_path / "pki", "other", hosts=["127.0.0.1"])
    identity = "identity: {certificate: pki/other.crt, key: pki/other.key, ca: pki/ca.crt}\n"
    for section in ('listen: {address: "127.0.0.1:0"}\n', 'uplink: {url: "quic://127.0.0.1:1"}\n'):
        error = await failing(lone(tmp_path, identity + section))
        assert isinstance(error, InvalidConfig)
        assert "default/other" in error.message
        assert "default/lone" in error.message


async def test_a_certificate_that_is_not_there_is_named_by_its_section_with_what_makes_it(tmp_path: Path) -> None:
    create_authority(tmp_path / "pki")
    issue(tmp_path / "pki", "lone")
    (tmp_path / "pki" / "lone.key").unlink()
    identity = "identity: {certificate: pki/lone.crt, key: pki/lone.key, ca: pki/ca.crt}\n"
    error = await failing(lone(tmp_path, identity + 'uplink: {url: "quic://127.0.0.1:1"}\n'))
    assert isinstance(error, CertificateError)
    assert error.message.startswith("identity.key: ")
    assert "twingateway pki issue" in error.message


async def test_a_folder_for_the_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    error = await failing(lone(tmp_path, 'store: {path: "data/deeper/{name}.db"}\n'))
    assert isinstance(error, StoreError)
    assert error.message == f"{tmp_path}/data/deeper cannot be created: Not a directory"


async def test_two_nodes_do_not_share_a_store(tmp_path: Path) -> None:
    file = lone(tmp_path, "")
    async with running(file):
        assert isinstance(await failing(file), StoreError)


async def test_a_model_that_changed_under_its_name_is_told_at_the_root(tmp_path: Path) -> None:
    model = (
        "apiVersion: edge.iot.org/v1\nkind: DeviceModel\nmetadata: {{name: pump, version: '1'}}\n"
        "spec: {{properties: {{flow: {{type: number, maximum: {maximum}}}}}}}\n"
    )
    file = lone(tmp_path, "models: [pump.yaml]\n")
    (tmp_path / "pump.yaml").write_text(model.format(maximum=10))
    async with running(file):
        pass
    (tmp_path / "pump.yaml").write_text(model.format(maximum=20))
    error = await failing(file)
    assert isinstance(error, InvalidConfig)
    assert "pump@1" in error.message


async def test_an_edge_and_a_cloud_over_real_sockets(tmp_path: Path) -> None:
    listen = free_port()
    async with ModbusDevice().serving() as device:
        cloud, edge = write_site(tmp_path, device=device.port, listen=listen)
        async with (
            running(cloud) as (_, bound),
            running(edge),
            httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client,
        ):
            url = f"http://{bound.api}/twins/plant"
            async with asyncio.timeout(PATIENCE):
                while (await client.get(url)).status_code != 200:
                    await asyncio.sleep(0.05)
            answer = await client.patch(f"{url}?wait=60s", json={"spec": {"desiredProperties": {"r3": 33}}})
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"]["holder"] == "edge"
        assert device.written == [(3, 33)]
