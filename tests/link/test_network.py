"""Changes of the network are told once each; a system that tells nothing is no error."""

from __future__ import annotations

import asyncio
import socket

import pytest

from twingateway.link import network
from twingateway.link.network import NetworkWatch, open_kernel_socket


@pytest.fixture
def kernel():
    """Both ends of what stands for the kernel's socket."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    yield ours, its
    its.close()


async def heard(told: list[float], count: int) -> None:
    async with asyncio.timeout(20):
        while len(told) < count:
            await asyncio.sleep(0.005)


async def test_what_comes_together_is_one_change_and_what_comes_later_another(kernel, monkeypatch):
    monkeypatch.setattr(network, "SETTLING", 0.05)
    ours, its = kernel
    told: list[float] = []
    watch = NetworkWatch(lambda: told.append(asyncio.get_running_loop().time()), lambda: ours)
    watch.start()
    for _ in range(5):
        its.send(b"an address")
    await heard(told, 1)
    its.send(b"a route")
    await heard(told, 2)
    its.send(b"the last word")
    await asyncio.sleep(0.01)
    watch.close()
    await asyncio.sleep(0.1)
    assert len(told) == 2


@pytest.mark.parametrize("kind", ["none", "refused"])
async def test_a_system_that_tells_nothing_is_no_error(kind):
    def refuse():
        raise PermissionError("not here")

    watch = NetworkWatch(lambda: None, refuse if kind == "refused" else lambda: None)
    watch.start()
    watch.close()


def test_the_kernel_can_be_asked():
    told = open_kernel_socket()
    if told is None:
        pytest.skip("this system has no netlink")
    with told:
        assert told.family == socket.AF_NETLINK
        assert not told.getblocking()
