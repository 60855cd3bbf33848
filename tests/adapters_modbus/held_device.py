"""A Modbus/TCP device that answers when it is told to, and knows what came on which connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from twingateway_modbus.simulator.answer import answer
from twingateway_modbus.simulator.memory import Memory

from tests.adapters_modbus.simulated import memory


@dataclass(frozen=True, slots=True)
class Request:
    """One that waits for its reply."""

    connection: int
    unit: int
    pdu: bytes
    frame: bytes
    transport: asyncio.Transport

    @property
    def address(self) -> int:
        return int.from_bytes(self.pdu[1:3], "big")


class HeldDevice:
    """`waiting`: requests in the order in which they came. `most`: connections that it accepts at a time; those
    beyond are closed at once."""

    def __init__(self, most: int = 99) -> None:
        self.units: dict[int, Memory] = {unit: memory() for unit in range(1, 10)}
        self.waiting: list[Request] = []
        self.asked = 0
        self.most = most
        self.opened = 0
        self.open: set[int] = set()
        self._is_held = True
        self._server: asyncio.Server | None = None

    async def serve(self) -> int:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Conversation(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def until(self, count: int) -> list[Request]:
        """Wait for so many waiting requests; then nothing more comes."""
        async with asyncio.timeout(5):
            while len(self.waiting) < count:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        return self.waiting

    def take(self, request: Request) -> None:
        self.asked += 1
        self.waiting.append(request)
        if not self._is_held:
            self.reply(request)

    def reply(self, request: Request) -> None:
        """As the device is now."""
        self.waiting.remove(request)
        pdu = answer(request.pdu, self.units[request.unit])
        request.transport.write(request.frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + bytes([request.unit]) + pdu)

    def release(self) -> None:
        """Answer all, from now on at once."""
        self._is_held = False
        for request in list(self.waiting):
            self.reply(request)

    def hold(self) -> None:
        self._is_held = True

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


class _Conversation(asyncio.Protocol):
    def __init__(self, device: HeldDevice) -> None:
        self._device = device
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._device.opened += 1
        self._number = self._device.opened
        if len(self._device.open) >= self._device.most:
            self._transport.close()
        else:
            self._device.open.add(self._number)

    def connection_lost(self, exc: Exception | None) -> None:
        self._device.open.discard(self._number)

    def data_received(self, data: bytes) -> None:
        if self._number not in self._device.open:
            return
        self._buffer += data
        while len(self._buffer) >= 7 and len(self._buffer) >= (size := 6 + int.from_bytes(self._buffer[4:6], "big")):
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            self._device.take(Request(self._number, frame[6], frame[7:], frame, self._transport))
