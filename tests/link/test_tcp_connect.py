"""Which of several sockets wins; no packet leaves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from twingateway.link import tcp_connect
from twingateway.link.names import Address
from twingateway.link.tcp_connect import connect_tcp

Judge = Callable[[int, Any], str]


def at(*hosts: str) -> list[Address]:
    return [(socket.AF_INET, (host, 1)) for host in hosts]


@pytest.fixture
def network(monkeypatch) -> Iterator[Any]:
    """Makes a network in which `judge` says of the n-th attempt: "silent", "refused" or "connected"."""
    monkeypatch.setattr(tcp_connect, "FRESH_AFTER", 0.02)
    monkeypatch.setattr(tcp_connect, "NEXT_ADDRESS_AFTER", 0.01)
    monkeypatch.setattr(tcp_connect, "PATIENCE", 0.03)
    tried: list[socket.socket] = []

    def make(judge: Judge) -> list[socket.socket]:
        loop = asyncio.get_running_loop()

        async def connect(connecting: socket.socket, address: Any) -> None:
            tried.append(connecting)
            verdict = judge(len(tried), address)
            if verdict == "refused":
                raise ConnectionRefusedError(111, f"{address[0]} refuses")
            if verdict == "silent":
                await asyncio.sleep(3600)

        monkeypatch.setattr(loop, "sock_connect", connect)
        return tried

    yield make
    for each in tried:
        each.close()


def is_open(one: socket.socket) -> bool:
    return one.fileno() >= 0


async def test_a_fresh_socket_asks_while_the_first_waits_and_only_the_winner_is_left(network) -> None:
    tried = network(lambda turn, address: "connected" if turn == 6 else "silent")
    won = await connect_tcp(at("192.0.2.1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert won is tried[5]
    assert [is_open(one) for one in tried] == [False] * 5 + [True]


async def test_a_later_socket_is_given_up_before_the_kernel_has_asked_often(network) -> None:
    open_then: list[bool] = []

    def judge(turn: int, address: Any) -> str:
        if turn == 7:
            open_then[:] = [is_open(one) for one in tried]
        return "connected" if turn == 7 else "silent"

    tried = network(judge)
    await connect_tcp(at("192.0.2.1"))
    assert open_then[0], "the first one is kept, for a path that takes long"
    assert not any(open_then[1:4])


async def test_an_address_that_refuses_is_followed_by_the_next_and_not_tried_again(network) -> None:
    asked: list[str] = []

    def judge(turn: int, address: Any) -> str:
        asked.append(address[0])
        if address[0] == "192.0.2.1":
            return "refused"
        return "connected" if asked.count("192.0.2.2") == 3 else "silent"

    network(judge)
    await connect_tcp(at("192.0.2.1", "192.0.2.2"))
    assert asked == ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"]


async def test_when_all_addresses_refuse_there_is_nothing_to_wait_for(network) -> None:
    network(lambda turn, address: "refused")
    with pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.2 refuses"):
        await connect_tcp(at("192.0.2.1", "192.0.2.2"))


async def test_giving_up_leaves_no_socket_open(network) -> None:
    tried = network(lambda turn, address: "silent")
    connecting = asyncio.create_task(connect_tcp(at("192.0.2.1")))
    while len(tried) < 3:
        await asyncio.sleep(0.005)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not any(is_open(one) for one in tried)
