"""The demo's Modbus TCP server process: `python -m twingateway.demo.modbus_site --port 0 --seed 1`.

One endpoint plays three units (inverter 1, meter 2, HVAC 3) whose values move every 200 ms. The first line on stdout
is `{"ready": true, "port": N}`. Commands come on stdin, one a line, each answered by one JSON line; the process ends
with `quit` or the end of stdin:

freeze          nothing moves from now on: `{"frozen": true}`. Clients can still write.
corrupt UNIT    the unit lies to every connection opened from now on: one of its registers is shown with a bit flipped
                (`{"corrupted": UNIT}`). The gateway, connected since before, goes on seeing the true value; a check
                over a connection of its own sees another one, as if the device had changed behind the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from twingateway.demo.console import obey_on_loop, say
from twingateway.demo.modbus_machines import MACHINES, Cells, Machine, signed

#: Seconds between two steps of the machines.
INTERVAL = 0.2

#: The function by which pymodbus finds a table in its memory.
_FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
#: Functions that set several cells of a table; the tables that clients cannot write are set by their read function.
_SETTERS = _FUNCTIONS | {"coil": 15, "holding": 16}

#: Unit → the register that `corrupt` shows wrongly: function, address, bits flipped. They are the inverter's voltage,
#: the meter's voltage of phase 1 (high word of the float) and the room temperature.
_LIES = {1: (4, 18, 0x0100), 2: (3, 1, 0x0010), 3: (4, 0, 0x0040)}


class _Liar:
    """Alters, on one connection, what is answered for the units in `about`."""

    def __init__(self, about: frozenset[int]) -> None:
        self._about = about
        self._request: ModbusPDU | None = None

    def trace(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        """pymodbus's hook: every request received and every reply to be sent passes here."""
        if not sending:
            self._request = pdu
        elif self._request is not None and pdu.dev_id in self._about and not pdu.isError():
            function, address, flipped = _LIES[pdu.dev_id]
            place = address - self._request.address
            if pdu.function_code == function and 0 <= place < len(pdu.registers):
                shown = list(pdu.registers)
                shown[place] ^= flipped
                pdu.registers = shown
        return pdu


class _Server(ModbusTcpServer):
    """pymodbus's server, but each connection keeps the lies that were agreed when it was opened."""

    def __init__(self, devices: list[SimDevice], port: int) -> None:
        super().__init__(devices, address=("127.0.0.1", port))
        self.corrupted: frozenset[int] = frozenset()

    def callback_new_connection(self) -> ServerRequestHandler:
        return ServerRequestHandler(self, None, _Liar(self.corrupted).trace, None)  # type: ignore[no-untyped-call]

    @property
    def port(self) -> int:
        listener: Any = self.transport
        return int(listener.sockets[0].getsockname()[1])


class ModbusSite:
    """The machines and the server that shows them."""

    def __init__(self, port: int, seed: int) -> None:
        chance = random.Random(seed)
        self._machines = [machine(chance) for machine in MACHINES]
        self._server = _Server([_device(machine) for machine in self._machines], port)
        self._frozen = False

    async def start(self) -> int:
        """Listen and show the first values → the port."""
        await self._server.serve_forever(background=True)
        await self._step(0.0)
        return self._server.port

    async def move(self) -> None:
        """Step every `INTERVAL` until cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            due = max(due + INTERVAL, clock())
            await asyncio.sleep(due - clock())
            if not self._frozen:
                await self._step(INTERVAL)

    async def _step(self, seconds: float) -> None:
        for machine in self._machines:
            written = {
                (table, address): signed(int((await self._get(machine.unit, table, address))[0]))
                for table, address in machine.initial
            }
            machine.step(seconds, written)
            for table, runs in machine.cells().items():
                for address, cells in runs.items():
                    await self._set(machine.unit, table, address, cells)

    async def _get(self, unit: int, table: str, address: int) -> list[Any]:
        return list(await self._server.async_getValues(unit, _FUNCTIONS[table], address, 1))

    async def _set(self, unit: int, table: str, address: int, cells: list[int]) -> None:
        values: Any = [bool(cell) for cell in cells] if table in ("coil", "discrete") else cells
        await self._server.async_setValues(unit, _SETTERS[table], address, values)

    def command(self, line: str) -> dict[str, Any]:
        """Carry out one line of stdin → the answer."""
        match line.split():
            case ["freeze"]:
                self._frozen = True
                return {"frozen": True}
            case ["corrupt", unit] if unit.isdecimal() and int(unit) in _LIES:
                self._server.corrupted |= {int(unit)}
                return {"corrupted": int(unit)}
        return {"error": f"{line!r} is no command: freeze, corrupt {{{','.join(map(str, _LIES))}}}, quit"}

    async def stop(self) -> None:
        await self._server.shutdown()  # type: ignore[no-untyped-call]


def _device(machine: Machine) -> SimDevice:
    cells: Cells = machine.cells()
    for (table, address), value in machine.initial.items():
        cells.setdefault(table, {})[address] = [value & 0xFFFF]
    blocks = tuple(_block(table, cells.get(table, {0: [0]})) for table in _FUNCTIONS)
    # pymodbus names its blocks in this order: coils, discrete inputs, holding registers, input registers.
    return SimDevice(machine.unit, blocks, action=partial(_judge, machine.limits))  # type: ignore[arg-type]


def _block(table: str, runs: Mapping[int, list[int]]) -> list[SimData]:
    if table in ("coil", "discrete"):
        return [
            SimData(at, values=[bool(cell) for cell in cells], datatype=DataType.BITS) for at, cells in runs.items()
        ]
    return [SimData(at, values=list(cells), datatype=DataType.REGISTERS) for at, cells in sorted(runs.items())]


async def _judge(
    limits: Mapping[tuple[str, int], tuple[int, int]],
    function: int,
    start: int,
    address: int,
    count: int,
    current: list[int],
    wanted: list[int] | list[bool] | None,
) -> ExcCodes | None:
    """pymodbus's hook before each access: a write out of limits is answered with exception 3."""
    for place, value in enumerate(wanted or ()):
        low, high = limits.get(("holding", address + place), (-0x8000, 0x7FFF))
        if function in (6, 16) and not low <= signed(int(value)) <= high:
            return ExcCodes.ILLEGAL_VALUE
    return None


async def serve(port: int, seed: int) -> None:
    """Run until `quit` or the end of stdin."""
    site = ModbusSite(port, seed)
    say({"ready": True, "port": await site.start()})
    moving = asyncio.create_task(site.move())
    await obey_on_loop(site.command)
    moving.cancel()
    await site.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Three Modbus units whose values move, for the demo.")
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same weather")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.port, arguments.seed))


if __name__ == "__main__":
    main()
