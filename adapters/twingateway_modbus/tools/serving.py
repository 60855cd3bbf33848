"""Simulated devices at a terminal: served until Ctrl-C."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twingateway.adapter import parse_duration
from twingateway.errors import InvalidConfig
from twingateway_modbus.address import Transport
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.machine import Machine
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server
from twingateway_modbus.tools.documents import read_any
from twingateway_modbus.tools.vectors import vector_named

#: Seconds between two steps of values that move.
_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a simulator shows over TLS. `client_ca`: who must have signed its clients'; None: they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Raises InvalidConfig."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise InvalidConfig(f"the certificate cannot be used: {error}") from error
        return context


@dataclass(frozen=True, slots=True)
class Serving:
    """How a profile is served. `test`: the test vector whose registers it begins with; `echo`: as on a two-wire line;
    `still`: no value moves."""

    transport: str
    port: int
    units: range
    faults: Faults
    certificate: Certificate | None = None
    test: str | None = None
    echo: bool = False
    still: bool = False


async def serve(make: Callable[[], Server], port: int) -> None:
    server = make()
    print(f"listening on 127.0.0.1:{await server.serve_tcp(port=port)}", flush=True)
    await asyncio.Event().wait()


async def serve_profile(file: Path, how: Serving) -> None:
    """Raises InvalidConfig."""
    try:
        transport = Transport(how.transport)
    except ValueError:
        raise InvalidConfig(f"{how.transport!r} is not a transport: {', '.join(Transport)}") from None
    machines = _machines(file, how)
    memories: dict[int, Memory] = {unit: machine.memory for unit, machine in machines.items()}
    server = Server(memories, transport.framing, {None: how.faults})
    print(f"{len(machines)} unit{'s' * (len(machines) != 1)} on {await _listen(server, transport, how)}", flush=True)
    loop = asyncio.get_running_loop()
    while True:
        if not how.still and how.test is None:
            for machine in machines.values():
                machine.move(loop.time())
        await asyncio.sleep(_STEP)


def _machines(file: Path, how: Serving) -> dict[int, Machine]:
    given = read_any(file, {"host": "127.0.0.1"})[0]
    settings = given.settings
    points = settings.points(given.model)
    machines = {unit: Machine(points, gaps=settings.limits().max_gap) for unit in how.units}
    if how.test is not None:
        vector = vector_named(file, how.test)
        for machine in machines.values():
            vector.fill(machine.memory, settings.base)
    return machines


async def _listen(server: Server, transport: Transport, how: Serving) -> str:
    """Where it is to be found."""
    if transport.is_serial:
        return server.serve_pty(echo=how.echo)
    try:
        if transport is Transport.UDP:
            return f"127.0.0.1:{await server.serve_udp(port=how.port)}"
        if transport is not Transport.TLS:
            return f"127.0.0.1:{await server.serve_tcp(port=how.port)}"
        if how.certificate is None:
            raise InvalidConfig("tls needs --certificate and --key")
        return f"127.0.0.1:{await server.serve_tcp(port=how.port, tls=how.certificate.context())}"
    except OSError as error:
        raise InvalidConfig(f"cannot listen on port {how.port}: {error.strerror or error}") from error


def parse_faults(texts: list[str]) -> Faults:
    """`silence`, `silence=0.1`, `delay=0.5:200ms`, `exception=1:6`. Raises InvalidConfig."""
    return Faults([_parse_fault(text) for text in texts])


def _parse_fault(text: str) -> Fault:
    name, _, rest = text.partition("=")
    share, _, amount = rest.partition(":")
    if name not in list(FaultKind):
        raise InvalidConfig(f"{text!r}: there is no fault {name!r}; there are {', '.join(FaultKind)}")
    try:
        fault = Fault(FaultKind(name), float(share or 1), _amount(FaultKind(name), amount))
    except ValueError as error:
        raise InvalidConfig(f"{text!r} is not a fault: {error}") from error
    if not 0 <= fault.share <= 1:
        raise InvalidConfig(f"{text!r}: {share} is no share of the replies, 0 to 1; an amount follows a colon")
    return fault


def _amount(kind: FaultKind, text: str) -> float:
    """A delay's is a duration, or plain seconds."""
    try:
        return float(text or 0)
    except ValueError:
        if kind is FaultKind.DELAY:
            return parse_duration(text)
        raise
