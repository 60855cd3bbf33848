"""`twingateway modbus …`: plan, scan, read, identify, write, record, replay, import and simulate."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twingateway.adapter import parse_duration
from twingateway.errors import InvalidConfig
from twingateway_modbus.layout import DataType, Order
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import FaultKind
from twingateway_modbus.tools.importing import Foreign

if TYPE_CHECKING:
    from twingateway_modbus.address import AddressSettings
    from twingateway_modbus.tools.listening import Certificate, Listening

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Modbus devices: look at them, try them, simulate them."
)

_Target = Annotated[
    str,
    typer.Argument(
        metavar="ENDPOINT", help="plc:502, udp://plc, rtu-over-tcp://gateway:4001, '/dev/ttyUSB0?echo=true' …"
    ),
]
_Unit = Annotated[int, typer.Option(help="The unit identifier.")]
_Timeout = Annotated[float, typer.Option(parser=parse_duration, metavar="DURATION", help="Patience with a reply.")]
_Baud = Annotated[int, typer.Option(help="Of a serial line.")]
_Parity = Annotated[str, typer.Option(help="Of a serial line: none, even or odd.")]

_PORT = "TCP or UDP port; 0 takes a free one."
_HOST = "The address to listen at."
_TRANSPORT = "tcp, tls, udp, rtu, ascii, rtu-over-tcp or ascii-over-tcp."
_Port = Annotated[int, typer.Option(min=0, max=65535, help=_PORT)]
_Host = Annotated[str, typer.Option(help=_HOST)]
_Transport = Annotated[str, typer.Option(help=_TRANSPORT)]
_Echo = Annotated[bool, typer.Option("--echo", help="As on a two-wire line (rtu, ascii).")]
_Pace = Annotated[int | None, typer.Option("--baud", min=300, help="As slow as a line of this speed (rtu, ascii).")]
_Certificate = Annotated[Path | None, typer.Option(metavar="PEM", help="The certificate to show (tls).")]
_Key = Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")]


def _serial(target: str, baud: int, parity: str) -> dict[str, Any]:
    return {"baud": baud, "parity": parity} if "/dev/" in target else {}


@app.command("plan")
def plan(
    file: Annotated[Path, typer.Argument(metavar="DEVICE.yaml", help="A device's or a profile's file.")],
) -> None:
    """Show which requests read a device, what they cost, and how busy they keep its connection."""
    from twingateway_modbus.tools.documents import read_any
    from twingateway_modbus.tools.show import show_plan

    show_plan(read_any(file, {"host": "127.0.0.1"}))


@app.command("scan")
def scan(
    target: _Target,
    units: Annotated[str, typer.Option(metavar="A-B", help="Unit identifiers to try.")] = "1-247",
    table: Annotated[Table | None, typer.Option(help="Also look for what can be read in this table.")] = None,
    addresses: Annotated[str, typer.Option(metavar="A-B", help="… between these addresses.")] = "0-255",
    delay: Annotated[float, typer.Option(parser=parse_duration, metavar="DURATION", help="Between requests.")] = 0.05,
    timeout: _Timeout = 0.3,
    baud: _Baud = 19200,
    parity: _Parity = "even",
) -> None:
    """Find units, and what can be read. Slowly, one request at a time; nothing is written."""
    from twingateway_modbus.tools.show import run_scan
    from twingateway_modbus.tools.target import address_of

    address = address_of(target, timeout=timeout, delay=delay, **_serial(target, baud, parity))
    asyncio.run(run_scan(address, _span(units), table, _span(addresses)))


@app.command("read")
def read(
    target: _Target,
    address: Annotated[int, typer.Argument(help="Zero-based.")],
    count: Annotated[int, typer.Argument(help="How many values.")] = 1,
    unit: _Unit = 1,
    table: Annotated[Table, typer.Option()] = Table.HOLDING,
    type: Annotated[DataType, typer.Option()] = DataType.UINT16,
    order: Annotated[Order, typer.Option()] = Order.ABCD,
    length: Annotated[int | None, typer.Option(help="Registers of a string.")] = None,
    timeout: _Timeout = 1.0,
    baud: _Baud = 19200,
    parity: _Parity = "even",
) -> None:
    """Read values once."""
    from twingateway_modbus.tools.once import point_of, read_once
    from twingateway_modbus.tools.target import address_of

    at = address_of(target, unit=unit, timeout=timeout, **_serial(target, baud, parity))
    points = [point_of(table, address, type, order, length, index) for index in range(count)]
    for each, value in asyncio.run(read_once(at, points)):
        print(f"{each.address}\t{value}")


@app.command("identify")
def identify(
    target: _Target,
    unit: _Unit = 1,
    timeout: _Timeout = 1.0,
    baud: _Baud = 19200,
    parity: _Parity = "even",
) -> None:
    """Read what a device says of itself: vendor, product code, revision … (function 43/14)."""
    from twingateway_modbus.tools.once import identify_once
    from twingateway_modbus.tools.target import address_of

    at = address_of(target, unit=unit, timeout=timeout, **_serial(target, baud, parity))
    for name, text in asyncio.run(identify_once(at)):
        print(f"{name}\t{text}")


@app.command("write", context_settings={"ignore_unknown_options": True})
def write(
    target: _Target,
    address: Annotated[int, typer.Argument(help="Zero-based.")],
    value: Annotated[str, typer.Argument()],
    unit: _Unit = 1,
    table: Annotated[Table, typer.Option(help="holding or coil.")] = Table.HOLDING,
    type: Annotated[DataType, typer.Option()] = DataType.UINT16,
    order: Annotated[Order, typer.Option()] = Order.ABCD,
    length: Annotated[int | None, typer.Option(help="Registers of a string.")] = None,
    timeout: _Timeout = 1.0,
    baud: _Baud = 19200,
    parity: _Parity = "even",
) -> None:
    """Write one value, and read it back; with --unit 0 on a serial line, to all units at once."""
    from twingateway_modbus.tools.once import point_of, value_of, write_once
    from twingateway_modbus.tools.target import address_of

    if not table.writable:
        raise InvalidConfig(f"{table} cannot be written; only holding and coil can")
    at = address_of(target, unit=unit, timeout=timeout, **_serial(target, baud, parity))
    point = point_of(table, address, type, order, length, 0)
    observed = asyncio.run(write_once(at, point, value_of(point, value)))
    print(f"{address}\t{'sent to all units; none answers' if at.is_everybody(unit) else observed}")


@app.command("record")
def record(
    file: Annotated[Path, typer.Argument(metavar="DEVICE.yaml")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording; lines are added.")],
    seconds: Annotated[float, typer.Option(parser=parse_duration, metavar="DURATION", help="How long.")] = 60.0,
) -> None:
    """Poll a device by its document and keep every request with its reply, or with what came instead of one."""
    from twingateway_modbus.tools.capture import capture
    from twingateway_modbus.tools.documents import read_any

    found = asyncio.run(capture(read_any(file, {"host": "127.0.0.1"}), output, seconds))
    print(f"{found.exchanges} exchanges in {output}, {found.unanswered} of them without a reply")
    for name, error in found.absent.items():
        print(f"{name}: {error}", file=sys.stderr)


@app.command("replay")
def replay(
    file: Annotated[Path, typer.Argument(metavar="RECORDING")],
    port: _Port = 5020,
    host: _Host = "127.0.0.1",
    transport: _Transport = "tcp",
    echo: _Echo = False,
    baud: _Pace = None,
    certificate: _Certificate = None,
    key: _Key = None,
) -> None:
    """Answer as a recorded device did, over any transport; each endpoint of the recording on a port of its own."""
    from twingateway_modbus.tools.listening import Listening
    from twingateway_modbus.tools.recording import read_recording
    from twingateway_modbus.tools.serving import serve_recording, transport_named

    exchanges = list(read_recording(file))
    if not exchanges:
        raise InvalidConfig(f"{file} holds no exchange")
    where = Listening(transport_named(transport), port, host, _shown(certificate, key), echo, baud)
    asyncio.run(serve_recording(exchanges, where))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A SunSpec model, EdgeX profile or template.")],
    form: Annotated[Foreign | None, typer.Option("--as", help="What it is, if that is not plain.")] = None,
    repeat: Annotated[int, typer.Option(help="How often SunSpec's repeating groups are there.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; standard output.")] = None,
) -> None:
    """Turn another project's description of a device into a profile with its model."""
    from twingateway_modbus.tools.importing import import_file

    draft = import_file(file, form, repeat=repeat)
    if output is None:
        print(draft.yaml(), end="")
    else:
        output.write_text(draft.yaml(), encoding="utf-8")
    for each in draft.left_out:
        print(f"left out: {each}", file=sys.stderr)


@app.command("simulate")
def simulate(
    file: Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile's or a device's file.")],
    port: Annotated[int | None, typer.Option(min=0, max=65535, help=f"{_PORT} The document's by default.")] = None,
    host: Annotated[str | None, typer.Option(help=f"{_HOST} The document's by default.")] = None,
    units: Annotated[
        str | None, typer.Option(metavar="A-B", help="Unit identifiers; the document's by default.")
    ] = None,
    transport: Annotated[str | None, typer.Option(help=f"{_TRANSPORT} The document's by default.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[@UNIT][=SHARE[:AMOUNT]]",
            help=f"{', '.join(FaultKind)}; delay=0.1:2 is 2 s each tenth time, silence@3 is of unit 3; repeatable.",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begin with the registers of this test of the profile.")
    ] = None,
    echo: _Echo = False,
    baud: _Pace = None,
    still: Annotated[bool, typer.Option(help="No value moves.")] = False,
    certificate: _Certificate = None,
    key: _Key = None,
    client_ca: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Who must have signed the clients' certificates (tls).")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FUNCTIONS", help="What a role may do (tls): read, all, or codes such as 1-4,16."),
    ] = None,
) -> None:
    """Serve a profile, or the devices of a document where that looks for them, if it is on this machine and the port
    above 1023: else at 127.0.0.1, port 5020. What the document has to say is printed then. rtu and ascii are served
    on a pseudo-terminal."""
    from twingateway_modbus.tools.documents import read_any
    from twingateway_modbus.tools.serving import Serving, parse_faults, parse_rights, serve_devices

    devices = read_any(file, {"host": "127.0.0.1"})
    where = _where(devices[0].settings.address, transport, host, port, echo)
    where = replace(where, certificate=_shown(certificate, key, client_ca), baud=baud)
    span = None if units is None else _span(units)
    how = Serving(where, span, parse_faults(fault or []), parse_rights(role or []), test, still)
    asyncio.run(serve_devices(file, devices, how))


def _where(
    address: AddressSettings, transport: str | None, host: str | None, port: int | None, echo: bool
) -> Listening:
    """As the document says, or the options."""
    from twingateway_modbus.tools.listening import Listening
    from twingateway_modbus.tools.serving import transport_named

    told = Listening.of(address)
    over = told.transport if transport is None else transport_named(transport)
    return replace(
        told,
        transport=over,
        host=told.host if host is None else host,
        port=told.port if port is None else port,
        echo=echo or (told.echo and over.is_serial),
    )


def _shown(certificate: Path | None, key: Path | None, client_ca: Path | None = None) -> Certificate | None:
    from twingateway_modbus.tools.listening import Certificate

    if (certificate is None) != (key is None):
        raise InvalidConfig("--certificate and --key belong together")
    return Certificate(certificate, key, client_ca) if certificate and key else None


def _span(text: str) -> range:
    """`3-7` or `3`."""
    first, _, last = text.partition("-")
    try:
        span = range(int(first), int(last or first) + 1)
    except ValueError:
        span = range(0)
    if not span or span[0] < 0:
        raise typer.BadParameter(f"{text!r} is not a span such as 1-10")
    return span
