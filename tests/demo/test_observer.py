"""Following an event stream: its format, and taking it up again where it broke off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from twingateway.demo.board import Board
from twingateway.demo.documents import DemoDevice
from twingateway.demo.observer import Observer, Update, events


async def lines(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def test_fields_comments_and_blank_lines() -> None:
    stream = lines(
        ": hello", "id: a-1", "", ": still here", "", "id: a-2", "event: reported", "data:{}", "", "id: cut"
    )
    assert [fields async for fields in events(stream)] == [
        {"id": "a-1"},
        {"id": "a-2", "event": "reported", "data": "{}"},
    ]


class Streams:
    """A server that hangs up after each event and remembers from where it was asked to go on."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked += [line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("last-event-id")]
        number = len(self.asked)
        data = json.dumps({"twin": "lamp", "property": "power", "value": number, "time": 5})
        notice = f"id: x-{number}\nevent: notice\ndata: {{}}\n\n"
        event = f"id: s-{number}\nevent: reported\ndata: {data}\n\n"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{notice}{event}".encode())
        await writer.drain()
        writer.close()


async def test_a_broken_stream_goes_on_where_it_was() -> None:
    streams = Streams()
    server = await asyncio.start_server(streams, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    seen: asyncio.Queue[Update] = asyncio.Queue()
    following = asyncio.create_task(Observer(f"{host}:{port}", seen.put_nowait).run())
    async with asyncio.timeout(10):
        updates = [await seen.get() for _ in range(3)]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    server.close()

    assert [(update.section, update.device, update.value) for update in updates] == [
        ("reported", "lamp", 1),
        ("reported", "lamp", 2),
        ("reported", "lamp", 3),
    ]
    assert streams.asked[:3] == ["all-0", "s-1", "s-2"]


def test_the_board_shows_both_ends_and_the_way_of_a_desired_value() -> None:
    board = Board([DemoDevice("lamp", "mqtt", {"power": 0.0, "on": 0.0})])
    board.latencies.begin(1000)
    assert sorted(board.missing()) == ["lamp.on", "lamp.power"]

    board.at_edge(Update("reported", "lamp", "power", 4.5, 1000, 1001))
    board.at_cloud(Update("reported", "lamp", "power", 4.0, 1000, 1060))
    board.at_cloud(Update("desired", "lamp", "on", True, 1000, 1070))
    board.at_cloud(Update("reported", "stranger", "power", 1, 1000, 1080))
    (power, on) = board.rows
    assert (power.edge, power.cloud, power.ack, on.ack) == (4.5, 4.0, "", "pending")
    assert list(board.missing()) == ["lamp.on"]

    board.at_cloud(Update("ack", "lamp", "on", {"state": "applied"}, 1000, 1090))
    assert on.ack == "applied"
    assert board.latencies.normal() == {"mqtt": [60]}, "only what the devices report is measured"
