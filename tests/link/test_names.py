"""Where a host is, also while its name cannot be resolved."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from twingateway.link import names
from twingateway.link.names import Whereabouts

Answer = Callable[[], Awaitable[list[str]]]


class NameServer:
    """`answer`: what it does with the next question; `asked`: how many there were."""

    def __init__(self) -> None:
        self.answer: Answer = says()
        self.asked = 0

    async def resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        return [(socket.AF_INET, 0, 0, "", (address, port)) for address in await self.answer()]


def says(*addresses: str) -> Answer:
    async def answer() -> list[str]:
        return list(addresses)

    return answer


async def fails() -> list[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def hangs() -> list[str]:
    await asyncio.sleep(600)
    return []


def at(*hosts: str) -> list[Any]:
    return [(socket.AF_INET, (host, 14_567)) for host in hosts]


@pytest.fixture
async def name_server(monkeypatch) -> NameServer:
    server = NameServer()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", server.resolve)
    monkeypatch.setattr(names, "PATIENCE", 0.02)
    return server


@pytest.fixture
def parent() -> Whereabouts:
    return Whereabouts("parent.example", 14_567, socket.SOCK_DGRAM)


async def test_a_name_is_resolved_anew_each_time(name_server, parent) -> None:
    name_server.answer = says("192.0.2.1", "192.0.2.2", "192.0.2.1")
    assert await parent.find() == at("192.0.2.1", "192.0.2.2"), "each address once"
    name_server.answer = says("192.0.2.7")
    assert await parent.find() == at("192.0.2.7")


async def test_a_name_that_never_was_resolved_is_an_error(name_server, parent) -> None:
    name_server.answer = fails
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await parent.find()
    name_server.answer = says("192.0.2.1")
    assert await parent.find() == at("192.0.2.1")


@pytest.mark.parametrize("answer", [fails, hangs])
async def test_while_the_name_server_cannot_be_reached_the_last_addresses_stand(name_server, parent, answer) -> None:
    name_server.answer = says("192.0.2.1")
    await parent.find()
    name_server.answer = answer
    assert await parent.find() == at("192.0.2.1")
    assert await parent.find() == at("192.0.2.1")


async def test_there_is_one_question_at_a_time_and_its_late_answer_counts_next_time(name_server, parent) -> None:
    name_server.answer = says("192.0.2.1")
    await parent.find()
    back = asyncio.Event()

    async def late() -> list[str]:
        await back.wait()
        return ["192.0.2.7"]

    name_server.answer = late
    for _ in range(3):
        assert await parent.find() == at("192.0.2.1")
    assert name_server.asked == 2
    back.set()
    assert await parent.find() == at("192.0.2.7")


async def test_a_dial_that_is_given_up_meanwhile_takes_nobody_elses_answer(name_server, parent) -> None:
    name_server.answer = hangs
    first = asyncio.create_task(parent.find())
    await asyncio.sleep(0.01)
    second = asyncio.create_task(parent.find())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    assert not second.done()
    assert name_server.asked == 1
