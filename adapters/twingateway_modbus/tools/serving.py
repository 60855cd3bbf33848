"""Simulated and replayed devices at a terminal: served until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from twingateway.adapter import parse_duration
from twingateway.errors import InvalidConfig
from twingateway_modbus.address import Transport
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.machine import Machine
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.rights import Rights, functions_named
from twingateway_modbus.simulator.server import Server
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.listening import Listening
from twingateway_modbus.tools.recording import Exchange, ReplayServer, by_endpoint
from twingateway_modbus.tools.vectors import vector_named

#: Seconds between two steps of values that move.
_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Serving:
    """How devices are served. `units`: None for those that the documents name. `faults`: by unit, None for all
    others. `rights`: what each role may do, over TLS. `test`: the test vector whose registers it begins with;
    `still`: no value moves."""

    where: Listening = field(default_factory=Listening)
    units: range | None = None
    faults: Mapping[int | None, Faults] = field(default_factory=dict)
    rights: Rights | None = None
    test: str | None = None
    still: bool = False


async def serve_recording(exchanges: Iterable[Exchange], where: Listening) -> None:
    """Each endpoint of the recording on a port of its own, or a line. Raises InvalidConfig."""
    for number, (endpoint, said) in enumerate(by_endpoint(exchanges).items()):
        server = ReplayServer(said, where.transport.framing)
        found = await replace(where, port=where.port + number if where.port else 0).begin(server)
        units = f"unit {', '.join(map(str, sorted(server.known_units)))}" if server.known_units else "no unit"
        print(f"{units} of {endpoint or 'the recording'} on {found}", flush=True)
    await asyncio.Event().wait()


async def serve_devices(file: Path, devices: Sequence[NamedSettings], how: Serving) -> None:
    """Those of a file at the first one's address. Raises InvalidConfig."""
    if how.rights is not None and (how.where.certificate is None or how.where.certificate.client_ca is None):
        raise InvalidConfig("roles are in the clients' certificates: --role needs tls and --client-ca")
    noisy = any(fault.kind is FaultKind.NOISE for faults in how.faults.values() for fault in faults.faults)
    if noisy and not how.where.transport.has_check_sum:
        raise InvalidConfig(
            "noise is for lines: Modbus/TCP has no check sum that tells altered bytes, and the network drops such "
            "packets; serve rtu, ascii, rtu-over-tcp or ascii-over-tcp"
        )
    first = devices[0].settings.address
    served = [each for each in devices if each.settings.address.endpoint == first.endpoint]
    machines = _machines(file, served, how)
    memories: dict[int, Memory] = {unit: machine.memory for unit, machine in machines.items()}
    server = Server(memories, how.where.transport.framing, how.faults, rights=how.rights)
    found = await how.where.begin(server)
    print(f"{len(machines)} unit{'s' * (len(machines) != 1)} on {found}", flush=True)
    if missed := how.where.missed_by(first, found, machines):
        print(f"for a node to find it, the document's address has to be {missed}", flush=True)
    if others := len(devices) - len(served):
        print(f"not here: {others} of the file's {len(devices)} devices, which have other addresses", flush=True)
    loop = asyncio.get_running_loop()
    while True:
        if not how.still and how.test is None:
            for machine in machines.values():
                machine.move(loop.time())
        await asyncio.sleep(_STEP)


def _machines(file: Path, devices: Sequence[NamedSettings], how: Serving) -> dict[int, Machine]:
    """By unit. Several devices may be in one: it has what each of them reads."""
    by_unit: defaultdict[int, list[NamedSettings]] = defaultdict(list)
    for device in devices:
        by_unit[device.settings.address.unit].append(device)
    if how.units is not None:
        by_unit = defaultdict(list, {unit: [devices[0]] for unit in how.units})
    machines = {}
    for unit, given in by_unit.items():
        points = [point for each in given for point in each.settings.points(each.model)]
        machines[unit] = Machine(points, gaps=max(each.settings.limits().max_gap for each in given))
    if how.test is not None:
        vector = vector_named(file, how.test)
        for machine in machines.values():
            vector.fill(machine.memory, devices[0].settings.base)
    return machines


def transport_named(text: str) -> Transport:
    """Raises InvalidConfig."""
    try:
        return Transport(text)
    except ValueError:
        raise InvalidConfig(f"{text!r} is not a transport: {', '.join(Transport)}") from None


def parse_rights(texts: list[str]) -> Rights | None:
    """`operator=all`, `viewer=read`, `setter=1-4,16`. None where nothing is said. Raises InvalidConfig."""
    functions: dict[str, frozenset[int]] = {}
    for text in texts:
        role, equals, codes = text.rpartition("=")
        try:
            if not role or not equals:
                raise ValueError("no role and its functions")
            functions[role] = functions_named(codes)
        except ValueError as error:
            hint = "write NAME=read, NAME=all or NAME=1-4,16"
            raise InvalidConfig(f"{text!r} says nothing about a role ({error}): {hint}") from error
    return Rights(functions) if functions else None


def parse_faults(texts: list[str]) -> dict[int | None, Faults]:
    """`silence`, `silence=0.1`, `delay=0.5:200ms`, `exception=1:6` of all units; `silence@3` of unit 3, which has no
    others then. Raises InvalidConfig."""
    found: defaultdict[int | None, list[Fault]] = defaultdict(list)
    for text in texts:
        head, _, rest = text.partition("=")
        kind, at, unit = head.partition("@")
        if at and not unit.isdecimal():
            raise InvalidConfig(f"{text!r}: {unit!r} is no unit; write KIND@UNIT=SHARE:AMOUNT")
        found[int(unit) if at else None].append(_parse_fault(text, kind, rest))
    return {unit: Faults(faults) for unit, faults in found.items()}


def _parse_fault(text: str, name: str, rest: str) -> Fault:
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
