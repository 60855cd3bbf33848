"""Many simulated Modbus/TCP units in one process, as cheap as can be, that time every poll.

    python -m interop.modbus_plant --first-port 21001 --ports 250 --control 26001 --floats 10 --integers 20

Each unit holds `floats` 32-bit floats, then `integers` 16-bit integers, in holding registers from 0 on. Every read
gets other values than the one before, whatever the address; register 1000 holds what was written to it. On the
control port, `reset` forgets all times, `report SECONDS` is answered with those since, as JSON; `silent UNIT
PORT` makes a unit silent, and `speaking UNIT PORT` lets it answer again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import time
from collections import Counter, defaultdict
from typing import cast

_VARIANTS = 8
_HEADER = 7
_WRITABLE = 1000


class Plant:
    """Times are monotonic seconds, one list for each (port, unit), of the reads of the main block only."""

    def __init__(self, floats: int, integers: int) -> None:
        self.times: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        self.silent: set[tuple[int, int]] = set()
        self.requests = 0
        self._size = 2 * floats + integers
        self._replies = [self._make(variant, floats, integers) for variant in range(_VARIANTS)]
        self._polls: Counter[tuple[int, int]] = Counter()
        self._written: defaultdict[tuple[int, int], bytes] = defaultdict(lambda: b"\0\0")

    @staticmethod
    def _make(variant: int, floats: int, integers: int) -> bytes:
        values = [230.1 + number + variant / 10 for number in range(floats)]
        whole = [100 * number + variant for number in range(integers)]
        return struct.pack(f">{floats}f{integers}H", *values, *whole)

    def answer(self, port: int, unit: int, pdu: bytes) -> bytes | None:
        at = port, unit
        self.requests += 1
        if at in self.silent:
            return None
        function, address, count = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if address == _WRITABLE:
            if function == 3:
                return b"\x03\x02" + self._written[at]
            self._written[at] = pdu[3:5]
            return pdu
        self.times[at].append(time.monotonic())
        self._polls[at] += 1
        variant = self._replies[self._polls[at] % _VARIANTS]
        return bytes([3, 2 * count]) + variant[2 * address : 2 * (address + count)]

    def report(self, period: float) -> dict[str, object]:
        late: dict[str, list[float]] = {}
        missed = 0
        for (port, unit), times in self.times.items():
            steps = [round((each - times[0]) / period) for each in times]
            rests = [each - times[0] - step * period for each, step in zip(times, steps, strict=True)]
            late[f"{port}/{unit}"] = [rest - min(rests) for rest in rests]
            missed += steps[-1] + 1 - len(set(steps))
        return {"late": late, "missed": missed, "polls": sum(map(len, late.values())), "requests": self.requests}


class Conversation(asyncio.Protocol):
    def __init__(self, plant: Plant, port: int) -> None:
        self._plant = plant
        self._port = port
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        pdu = self._plant.answer(self._port, data[6], data[_HEADER:])
        if pdu is not None and self._transport is not None:
            self._transport.write(data[:4] + (len(pdu) + 1).to_bytes(2, "big") + data[6:7] + pdu)


async def _control(plant: Plant, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := (await reader.readline()).decode().split():
        answer: object = {}
        if line[0] == "reset":
            plant.times.clear()
            plant.requests = 0
        elif line[0] == "report":
            answer = plant.report(float(line[1]))
        elif line[0] in ("silent", "speaking"):
            change = plant.silent.add if line[0] == "silent" else plant.silent.discard
            change((int(line[2]), int(line[1])))
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def _serve(options: argparse.Namespace) -> None:
    plant = Plant(options.floats, options.integers)
    loop = asyncio.get_running_loop()
    for port in range(options.first_port, options.first_port + options.ports):
        await loop.create_server(lambda port=port: Conversation(plant, port), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.start_server(lambda reader, writer: _control(plant, reader, writer), "127.0.0.1", options.control)
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("first-port", "ports", "control", "floats", "integers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
