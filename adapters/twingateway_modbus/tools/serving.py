"""Simulated devices at a terminal: served until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from twingateway.adapter import parse_duration
from twingateway.errors import InvalidConfig
from twingateway_modbus.address import Transport
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.machine import Machine
from twingateway_modbus.simulator.server import Server
from twingateway_modbus.tools.documents import read_any

#: Seconds between two steps of values that move.
_STEP = 0.5


async def serve(make: Callable[[], Server], port: int) -> None:
    server = make()
    print(f"listening on 127.0.0.1:{await server.serve_tcp(port=port)}", flush=True)
    await asyncio.Event().wait()


async def serve_profile(
    file: Path, port: int, units: range, transport: str, faults: Faults, *, echo: bool, still: bool
) -> None:
    """Raises InvalidConfig."""
    try:
        kind = Transport(transport)
    except ValueError:
        raise InvalidConfig(f"{transport!r} is not a transport: {', '.join(Transport)}") from None
    settings = read_any(file, {"host": "127.0.0.1"})[0].settings
    machines = {unit: Machine(settings.points(), gaps=settings.limits().max_gap) for unit in units}
    memories = {unit: machine.memory for unit, machine in machines.items()}
    server = Server(memories, kind.framing, {None: faults})
    if kind.is_serial:
        where = server.serve_pty(echo=echo)
    elif kind is Transport.UDP:
        where = f"127.0.0.1:{await server.serve_udp(port=port)}"
    elif kind is Transport.TLS:
        raise InvalidConfig("the simulator has no certificate: put a TLS proxy before it")
    else:
        where = f"127.0.0.1:{await server.serve_tcp(port=port)}"
    print(f"{len(machines)} units on {where}", flush=True)
    loop = asyncio.get_running_loop()
    while True:
        if not still:
            for machine in machines.values():
                machine.move(loop.time())
        await asyncio.sleep(_STEP)


def parse_faults(texts: list[str]) -> Faults:
    """`silence`, `silence=0.1`, `delay=0.5:200ms`, `exception=1:6`. Raises InvalidConfig."""
    faults = []
    for text in texts:
        name, _, rest = text.partition("=")
        share, _, amount = rest.partition(":")
        try:
            kind = FaultKind(name)
            seconds = parse_duration(amount or 0) if kind is FaultKind.DELAY else float(amount or 0)
            faults.append(Fault(kind, float(share or 1), seconds))
        except ValueError as error:
            raise InvalidConfig(f"{text!r} is not a fault: {error}") from error
    return Faults(faults)
