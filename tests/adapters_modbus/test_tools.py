"""The commands `twingateway modbus …` and `twingateway adapter test`, on files and simulated devices."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twingateway_modbus import ADAPTER
from twingateway_modbus.address import Transport
from twingateway_modbus.layout import DataType, Order
from twingateway_modbus.point import Table
from twingateway_modbus.simulator.faults import Fault, FaultKind, Faults
from twingateway_modbus.simulator.inbox import Asked
from twingateway_modbus.simulator.memory import Memory
from twingateway_modbus.simulator.server import Server
from twingateway_modbus.tools.capture import capture
from twingateway_modbus.tools.documents import NamedSettings
from twingateway_modbus.tools.listening import Certificate, Listening
from twingateway_modbus.tools.once import point_of, read_once
from twingateway_modbus.tools.recording import Exchange, ReplayServer, read_recording
from twingateway_modbus.tools.scan import Scanner
from twingateway_modbus.tools.serving import serve_recording
from twingateway_modbus.tools.target import address_of
from typer.testing import CliRunner, Result

from tests.adapters_modbus.simulated import make_server, serve
from twingateway.adapter import DeviceId
from twingateway.cli.exit_codes import ExitCode
from twingateway.cli.main import app
from twingateway.errors import DeviceTimeout
from twingateway.pki.authority import create_authority, issue

PROFILE = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: meter}
spec:
  adapter: modbus
  properties:
    power: {table: input, address: 0, type: int32, scale: 0.1}
    energy: {table: input, address: 4, type: uint32, period: 10s}
    setpoint: {table: holding, address: 2, type: int16, scale: 0.1, writable: true}
    fan: {table: coil, address: 7, writable: true}
  tests:
  - name: at noon
    registers: {input: {0: "0000 04D2", 4: "0001 0000"}, holding: {2: "00D7"}, coil: {7: "1"}}
    expect: {power: 123.4, energy: 65536, setpoint: 21.5, fan: true}
    writes:
      setpoint: {value: -1.5, registers: FFF1}
      fan: {value: false, registers: "0"}
"""
RANGE = """\
apiVersion: edge.iot.org/v1
kind: Device
metadata: {name: "meter-{n}", range: 1..3}
spec: {profile: meter.yaml, address: {host: 127.0.0.1, port: PORT, unit: "{n}"}}
"""


class Plant:
    """A simulator on its own thread, since the commands run event loops of their own."""

    def __init__(self, server: Server) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = server
        self.faults = server.faults
        self.port = asyncio.run_coroutine_threadsafe(server.serve_tcp(), self._loop).result(5)
        self.target = f"127.0.0.1:{self.port}"
        self.asked: list[tuple[int, bytes]] = []

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Fading(Faults):
    """Two good replies, then what was asked for."""

    def choose(self) -> Fault | None:
        self.good = getattr(self, "good", 2) - 1
        return None if self.good >= 0 else super().choose()


@pytest.fixture
def plant() -> Iterator[Plant]:
    asked: list[tuple[int, bytes]] = []
    plant = Plant(make_server(Transport.TCP, 1, 2, 5, witness=lambda unit, pdu: asked.append((unit, pdu))))
    plant.asked = asked
    yield plant
    plant.close()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "meter.yaml").write_text(PROFILE)
    return tmp_path / "meter.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_plan_shows_requests_bytes_and_time(profile: Path, tmp_path: Path) -> None:
    (tmp_path / "range.yaml").write_text(RANGE.replace("PORT", "502"))
    result = run("modbus", "plan", tmp_path / "range.yaml")

    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "meter-1 and 2 more: unit 1 at 127.0.0.1:502"
    assert [line.split()[:4] for line in lines[2:6]] == [
        ["1s", "coil", "7-7", "1"],
        ["1s", "holding", "2-2", "1"],
        ["1s", "input", "0-1", "2"],
        ["10s", "input", "4-5", "2"],
    ]
    assert "12+13" in lines[4]
    assert lines[-2].startswith("4 requests; 3.1 requests and 72.")
    assert lines[-1].startswith("all 3 devices (3 units) at 127.0.0.1:502: 12 requests; 9.3 requests and ")


def test_devices_with_plans_of_their_own_are_shown_each_and_those_of_one_unit_summed_as_they_are_read(
    tmp_path: Path,
) -> None:
    device = """
kind: Device
apiVersion: edge.iot.org/v1
metadata: {{name: part-{0}}}
spec:
  adapter: modbus
  address: {{host: 127.0.0.1, connections: 2}}
  properties: {{value: {{table: holding, address: {0}, type: uint16}}}}
"""
    (tmp_path / "parts.yaml").write_text("---".join(device.format(address) for address in (1, 2, 300)))
    lines = run("modbus", "plan", tmp_path / "parts.yaml").output.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("part")] == ["part-1", "part-2", "part-300"]
    assert lines[-1].startswith("all 3 devices (1 units) at 127.0.0.1:502: 2 requests; 2 requests and ")
    assert "each of 2 connections is busy" in lines[-1]


def test_a_plan_is_shown_of_a_profile_with_its_model_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pump.yaml").write_text(NAMED)
    result = run("modbus", "plan", tmp_path / "pump.yaml")
    assert result.exit_code == 0, result.output
    assert "2 requests" in result.output

    (tmp_path / "broken.yaml").write_text("kind: [")
    assert "broken.yaml:1" in run("modbus", "plan", tmp_path / "broken.yaml").output


def test_reading_and_writing_without_a_document(plant: Plant) -> None:
    assert run("modbus", "read", plant.target, 10, 2, "--type", "uint32", "--unit", 2).output == (
        f"10\t{10 << 16 | 11}\n12\t{12 << 16 | 13}\n"
    )
    assert plant.asked == [(2, bytes.fromhex("03 000a 0004"))]
    assert run("modbus", "write", plant.target, 3, "-7", "--type", "int16").output == "3\t-7\n"
    assert run("modbus", "read", plant.target, 3).output == "3\t65529\n"
    assert run("modbus", "write", plant.target, 4, "on", "--table", "coil").output == "4\tTrue\n"

    refused = run("modbus", "write", plant.target, 4, "1", "--table", "input")
    assert refused.exit_code != 0
    assert "input cannot be written" in refused.output
    assert run("modbus", "read", plant.target, 99).output.startswith("error: illegal data address (2) reading")
    assert "a manual's number" not in run("modbus", "read", plant.target, 99).output
    for command in (("read", plant.target, 40001), ("write", plant.target, 40001, 1)):
        assert "40001 may be a manual's number: its 40001, like its 30001, is 0" in run("modbus", *command).output
    assert "a serial line and tls take settings" in run("modbus", "read", f"{plant.target}?baud=9600", 3).output


def test_a_device_says_who_it_is(plant: Plant) -> None:
    identified = run("modbus", "identify", plant.target, "--unit", 2)
    assert identified.output == "vendor\ttwingateway\nproduct_code\tsimulator\nrevision\t1\n"
    plant.faults[None] = Faults([Fault(FaultKind.EXCEPTION, 1.0, 1)])
    assert (
        "illegal function (1) reading the device's identification" in run("modbus", "identify", plant.target).output
    )


def test_an_identification_in_a_test_vector(profile: Path) -> None:
    said = PROFILE.replace("  tests:", "  identification: {maker: vendor, serial: 128}\n  tests:").replace(
        "    expect: {", "    identification: {vendor: Acme, 128: S7}\n    expect: {maker: Acme, serial: S7, "
    )
    profile.write_text(said)
    assert run("adapter", "test", profile).output.endswith("1 of 1 passed\n")
    profile.write_text(said.replace("expect: {maker: Acme", "expect: {maker: Apex"))
    assert "maker is 'Acme' instead of 'Apex'" in run("adapter", "test", profile).output


def test_a_scan_finds_units_and_readable_ranges_and_writes_nothing(plant: Plant) -> None:
    result = run(
        "modbus", "scan", plant.target, "--units", "1-6", "--table", "input", "--addresses", "0-100",
        "--delay", "0ms", "--timeout", "100ms",
    )  # fmt: skip
    assert result.output.splitlines()[:-1] == [
        f"{line}"
        for unit in (1, 2, 5)
        for line in (f"unit {unit}: answers; twingateway; simulator; 1", "  input 0-39")
    ]
    assert result.output.splitlines()[-1].startswith("3 of 6 units answered; ")


def test_a_scan_of_an_endpoint_where_nobody_listens_says_so() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        result = run("modbus", "scan", f"127.0.0.1:{nobody.getsockname()[1]}", "--units", "1-3", "--delay", "0ms")
    assert result.exit_code == ExitCode.DEVICE_GONE
    assert "units answered" not in result.output
    assert "is the address right" in result.output


def test_a_port_that_is_none_is_a_mistake_in_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "meter.yaml").write_text(PROFILE)
    result = run("modbus", "simulate", str(tmp_path / "meter.yaml"), "--port", "99999")
    assert result.exit_code == ExitCode.USAGE


def test_a_scan_asks_no_further_for_a_table_that_the_unit_does_not_have(plant: Plant) -> None:
    plant.faults[2] = Faults([Fault(FaultKind.EXCEPTION, 1.0, 1)])
    result = run("modbus", "scan", plant.target, "--units", "1-2", "--table", "input", "--delay", "0ms")
    assert "  input 0-39" in result.output
    assert sum(unit == 2 and pdu[0] == 4 for unit, pdu in plant.asked) == 1


def test_a_scan_goes_on_to_the_next_unit_where_one_falls_silent(plant: Plant) -> None:
    silence = Fault(FaultKind.SILENCE)
    plant.faults[1] = Fading([silence])
    result = run(
        "modbus", "scan", plant.target, "--units", "1-2", "--table", "input", "--addresses", "0-39",
        "--delay", "0ms", "--timeout", "100ms",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "  input: unit 1 at" in result.output
    assert result.output.splitlines()[-2] == "  input 0-39"
    assert sum(unit == 1 and pdu[0] == 4 for unit, pdu in plant.asked) == 2, "a lost reply is asked for once more"


async def test_a_scan_pauses_after_a_unit_that_hangs_up_too() -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    dropped = Faults([Fault(FaultKind.DROP)])
    server = make_server(Transport.TCP, 1, 2, 3, faults=dropped, witness=lambda unit, pdu: times.append(loop.time()))
    target = f"127.0.0.1:{await server.serve_tcp()}"
    scanner = Scanner(address_of(target, timeout=5.0, delay=0.03))
    assert [found async for found in scanner.units(range(1, 4))] == []
    assert all(after - before >= 0.029 for before, after in itertools.pairwise(times))
    assert len(times) == 3
    scanner.close()
    server.close()


def test_a_profile_that_keeps_its_promises_passes(profile: Path) -> None:
    result = run("adapter", "test", profile)
    assert result.output == f"ok      {profile}: at noon\n1 of 1 passed\n"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("scale: 0.1}\n    energy", "scale: 0.01}\n    energy", "power is 12.34 instead of 123.4"),
        ("power: 123.4,", "powder: 1,", "powder could not be read"),
        ("registers: FFF1", "registers: FFF2", "setpoint = -1.5 wrote fff1 instead of FFF2"),
        ("value: -1.5", "value: 4000", "setpoint = 4000: setpoint: 4000 does not fit"),
    ],
)
def test_a_profile_that_does_not_fails_and_says_where(profile: Path, before: str, after: str, complaint: str) -> None:
    assert before in PROFILE
    profile.write_text(PROFILE.replace(before, after))
    result = run("adapter", "test", profile)

    assert result.exit_code == 1
    assert complaint in result.output
    assert "0 of 1 passed" in result.output


FLOATS = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: meter}
spec:
  adapter: modbus
  properties:
    volt: {table: input, address: 4, type: float32}
    energy: {table: input, address: 8, type: float64}
    temperature: {table: input, address: 12, type: int16, tolerance: 5}
    scaled: {table: input, address: 13, type: int16, scale_register: 14}
  tests:
  - registers: {input: {4: "4366 199A", 8: "C06C C333 3333 3333", 12: "0007", 13: "0011 FFFF"}}
    expect: {volt: 230.10000610351562, energy: -230.1, temperature: 7, scaled: 1.7}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("4366 199A", "4366 199B"), ("3333 3333", "3333 3332"), ("0007", "0006"), ("0011", "0010"), ("FFFF", "FFFE")],
)
def test_a_byte_that_is_altered_is_never_near_enough(profile: Path, before: str, after: str) -> None:
    """Not even within the tolerance of a write that is read back."""
    profile.write_text(FLOATS)
    assert run("adapter", "test", profile).output.endswith("1 of 1 passed\n")
    assert before in FLOATS
    profile.write_text(FLOATS.replace(before, after))
    assert run("adapter", "test", profile).exit_code == 1


MODEL = """\
---
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: meter, version: "1"}
spec:
  properties:
    power: {type: number, maximum: 1000}
    setpoint: {type: number, access: read-write, step: 0.5}
    fan: {type: boolean, access: read-write}
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("maximum: 1000", "maximum: 100", "the model refuses power: 123.4 is above the maximum of 100"),
        ("step: 0.5", "step: 2", "setpoint = -1.5: setpoint: "),
        ("fan: {type: boolean, access: read-write}", "fan: {type: boolean}", "fan = False: fan: "),
    ],
)
def test_a_profile_is_held_against_its_model_too(profile: Path, before: str, after: str, complaint: str) -> None:
    modelled = PROFILE.replace("adapter: modbus\n", "adapter: modbus\n  model: meter@1\n") + MODEL
    assert before in modelled
    profile.write_text(modelled)
    assert run("adapter", "test", profile).exit_code == 0

    profile.write_text(modelled.replace(before, after))
    result = run("adapter", "test", profile)
    assert result.exit_code == 1
    assert complaint in result.output


NAMED = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: pump}
spec:
  adapter: modbus
  model: pump@1
  properties:
    mode: {table: holding, address: 0, type: uint16, enum: model, writable: true}
    level: {table: holding, address: 1, type: uint16, bits: [4, 5], enum: model}
    faults: {table: input, address: 0, type: uint32, flags: model}
  tests:
  - registers: {holding: {0: "0004 0020"}, input: {0: "0002 0001"}}
    expect: {mode: heat, level: high, faults: [door, fan]}
    writes: {mode: {value: "off", registers: "0000"}}
---
apiVersion: edge.iot.org/v1
kind: DeviceModel
metadata: {name: pump, version: "1"}
spec:
  properties:
    mode: {type: enum, values: ["off", heat], codes: [0, 4], access: read-write}
    level: {type: enum, values: [low, middle, high]}
    faults: {type: array, items: {type: enum, values: [fan, door], codes: [17, 0]}}
"""


def test_names_of_contents_and_bits_can_be_the_models(tmp_path: Path) -> None:
    (tmp_path / "pump.yaml").write_text(NAMED)
    assert run("validate", tmp_path / "pump.yaml").exit_code == 0
    assert run("adapter", "test", tmp_path / "pump.yaml").output.endswith("1 of 1 passed\n")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("model: pump@1", "model: other@1", "mode, level, faults: the model that gives the names is not here"),
        ("{type: enum, values: [low, middle, high]}", "{type: integer}", "level takes its names from pump@1, where"),
        ("values: [low, middle, high]", "values: [low, 2, high]", "some of its values are no texts"),
        ("items: {type: enum, values: [fan, door], codes: [17, 0]}", "minItems: 0", "not an array of enums"),
    ],
)
def test_names_that_the_model_does_not_have_are_missed(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    assert before in NAMED
    (tmp_path / "pump.yaml").write_text(NAMED.replace(before, after))
    result = run("adapter", "test", tmp_path / "pump.yaml")
    assert result.exit_code != 0
    assert complaint in result.output


def test_a_vector_that_is_none_is_an_error(profile: Path) -> None:
    profile.write_text(PROFILE.replace("name: at noon", "nam: at noon"))
    result = run("adapter", "test", profile)
    assert result.exit_code != 0
    assert "test 1: nam: " in result.output


def test_a_recording_keeps_what_was_not_answered_and_tells_who_is_away(profile: Path, tmp_path: Path) -> None:
    memory = Memory()
    memory.set(Table.INPUT, 0, [0, 1234, 0, 0, 1, 0])
    plant = Plant(Server({1: memory, 2: memory}, faults={2: Faults([Fault(FaultKind.SILENCE)])}))
    device = RANGE.replace("PORT", str(plant.port)).replace("1..3", "1..2").replace('"{n}"', '"{n}", timeout: 50ms')
    (tmp_path / "two.yaml").write_text(device)
    try:
        recorded = run("modbus", "record", tmp_path / "two.yaml", "-o", tmp_path / "r.jsonl", "--seconds", "300ms")
    finally:
        plant.close()
    assert "of them without a reply\n" in recorded.stdout
    assert recorded.stderr.startswith("meter-2: unit 2 at 127.0.0.1:")

    exchanges = list(read_recording(tmp_path / "r.jsonl"))
    silent = [each for each in exchanges if each.reply is None]
    assert {each.unit for each in silent} == {2}
    assert silent[0].fault == "did not answer within 0.05 s"
    assert {each.endpoint for each in exchanges} == {plant.target}


def test_a_recording_ends_well_by_ctrl_c(plant: Plant, profile: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(RANGE.replace("PORT", str(plant.port)).replace("1..3", "1..1"))
    over = threading.Event()

    def interrupt() -> None:
        while len(plant.asked) < 3 and not over.wait(0.01):
            pass
        if not over.is_set():
            signal.raise_signal(signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    recorded = run("modbus", "record", tmp_path / "one.yaml", "-o", tmp_path / "r.jsonl", "--seconds", "300s")
    over.set()
    interrupting.join()
    assert recorded.exit_code == 0, recorded.output
    assert recorded.stdout.startswith(f"{len(list(read_recording(tmp_path / 'r.jsonl')))} exchanges in ")


def test_a_unit_that_never_answered_stays_silent_whatever_it_is_asked() -> None:
    replayed = ReplayServer([*EXCHANGES[:1], EXCHANGES[1]._replace(unit=2)])
    assert replayed.known_units == {1}
    assert replayed.pdu_for(Asked(0, 2, bytes.fromhex("0400000001"))) is None
    assert replayed.pdu_for(Asked(0, 1, bytes.fromhex("0400000001"))) == bytes.fromhex("8404")


EXCHANGES = [
    Exchange(0.0, 1, bytes.fromhex("0300000001"), bytes.fromhex("0302 0007"), "a:502"),
    Exchange(1.0, 1, bytes.fromhex("0300000001"), None, "a:502", "did not answer within 1 s"),
    Exchange(2.0, 1, bytes.fromhex("0300000001"), bytes.fromhex("0302 0008"), "a:502"),
    Exchange(2.0, 1, bytes.fromhex("0300000001"), bytes.fromhex("0302 0009"), "b:502"),
]


@pytest.mark.parametrize("transport", [each for each in Transport if each is not Transport.TLS])
async def test_a_recording_is_replayed_over_every_transport_with_its_silence(
    transport: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    serving = asyncio.ensure_future(serve_recording(EXCHANGES, Listening(transport)))
    await asyncio.sleep(0.05)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" on ")[0] for line in lines] == ["unit 1 of a:502", "unit 1 of b:502"]
    places = [line.split()[-1] for line in lines]
    scheme = "" if transport is Transport.TCP else f"{transport}://"
    first, second = (address_of(f"{scheme}{place}", timeout=0.1) for place in places)
    value = point_of(Table.HOLDING, 0, DataType.UINT16, Order.ABCD, None, 0)
    try:
        assert [got for _, got in await read_once(second, [value])] == [9]
        assert [got for _, got in await read_once(first, [value])] == [7]
        with pytest.raises(DeviceTimeout):
            await read_once(first, [value])
        assert [got for _, got in await read_once(first, [value])] == [8]
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_a_recording_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("".join(each.line() + "\n" for each in EXCHANGES))
    assert list(read_recording(tmp_path / "r.jsonl")) == EXCHANGES


@pytest.mark.parametrize("transport", list(Transport))
async def test_every_transport_is_recorded(transport: Transport, tmp_path: Path) -> None:
    tls = None
    if transport is Transport.TLS:
        authority = create_authority(tmp_path / "pki")
        shown = issue(tmp_path / "pki", "plc", hosts=["127.0.0.1"], device=True)
        tls = Certificate(shown.certificate, shown.key).context()
    server = make_server(transport, 1, 2)
    server.faults[2] = Faults([Fault(FaultKind.SILENCE)])
    address = await serve(transport, server, tls=tls) | {"timeout": "50ms"}
    if transport is Transport.TLS:
        address["tls"] = {"ca_file": authority.certificate}
    properties = {"p": {"table": "holding", "address": 7, "type": "int16"}}
    devices = [
        NamedSettings(
            DeviceId("default", f"d{unit}"),
            ADAPTER.device.model_validate({"address": address | {"unit": unit}, "properties": properties}),
        )
        for unit in (1, 2)
    ]
    recorded = tmp_path / "r.jsonl"
    made = await capture(devices, recorded, 0.5)
    server.close()
    exchanges = list(read_recording(recorded))
    assert {(each.unit, each.reply) for each in exchanges} == {(1, bytes.fromhex("0302 0007")), (2, None)}
    assert made.exchanges == len(exchanges)
    assert made.unanswered == sum(each.reply is None for each in exchanges)
    assert set(made.absent) == {"d2"}


def test_all_units_of_a_line_are_written_to_and_a_scan_leaves_them_alone() -> None:
    asked: list[int] = []
    plant = Plant(make_server(Transport.RTU_OVER_TCP, 1, 2, witness=lambda unit, pdu: asked.append(unit)))
    try:
        target = f"rtu-over-tcp://{plant.target}"
        told = run("modbus", "write", target, 3, 77, "--unit", 0)
        assert told.output == "3\tsent to all units; none answers\n"
        assert run("modbus", "read", target, 3, "--unit", 2).output == "3\t77\n"
        assert "none answers" in run("modbus", "read", target, 3, "--unit", 0).output
        asked.clear()
        run("modbus", "scan", target, "--units", "0-1", "--delay", "0ms")
        assert 0 not in asked
    finally:
        plant.close()


def test_a_recording_replays_as_the_device_and_as_a_test(profile: Path, tmp_path: Path) -> None:
    memory = Memory()
    memory.set(Table.INPUT, 0, [0, 1234, 0, 0, 1, 0])
    memory.set(Table.HOLDING, 2, [215])
    memory.set(Table.COIL, 7, [1])
    plant = Plant(Server({1: memory}))
    try:
        (tmp_path / "one.yaml").write_text(RANGE.replace("PORT", str(plant.port)).replace("1..3", "1..1"))
        recorded = run("modbus", "record", tmp_path / "one.yaml", "-o", tmp_path / "noon.jsonl", "--seconds", "300ms")
    finally:
        plant.close()
    assert recorded.exit_code == 0, recorded.output
    first = json.loads((tmp_path / "noon.jsonl").read_text().splitlines()[0])
    assert set(first) == {"t", "endpoint", "unit", "request", "reply"}

    head, _, _ = PROFILE.partition("    registers:")
    profile.write_text(head + "    recording: noon.jsonl\n    expect: {power: 123.4, fan: true}\n")
    assert run("adapter", "test", profile).output.endswith("1 of 1 passed\n")
