"""A profile's test vectors: what a device sent, and the values it means; run through the adapter, without hardware.

    tests:
    - name: at noon
      registers: {holding: {0: "00E6 0000 1234"}, coil: {3: "1 0 1"}}   # or  recording: noon.jsonl
      identification: {vendor: Acme}
      expect: {voltage: 23.0}
      writes: {setpoint: {value: 21.5, registers: "00D7"}}

A vector is served by the simulator, or the recording replayed, and the device's own driver reads and writes it over
TCP: what passes here goes through planner, framing, codec and the model as it will on site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twingateway.adapter import Judge, Value
from twingateway.errors import DeviceError, InvalidConfig, InvalidValue, TooLarge
from twingateway_modbus.adapter import ModbusAdapter
from twingateway_modbus.driver import ModbusDriver
from twingateway_modbus.identity import ObjectId, number_of
from twingateway_modbus.point import Point, Table
from twingateway_modbus.simulator.machine import Machine
from twingateway_modbus.simulator.memory import Memory, NoSuchCell
from twingateway_modbus.simulator.server import Server
from twingateway_modbus.tools.documents import read_profile
from twingateway_modbus.tools.recording import ReplayServer, by_endpoint, read_recording
from twingateway_modbus.tools.silent_port import SilentPort


class Write(BaseModel):
    """`registers`: what the property's cells hold after `value` was written."""

    model_config = ConfigDict(extra="forbid")

    value: Any
    registers: str


class Vector(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    registers: dict[Table, dict[int, str]] = Field(default_factory=dict)
    recording: Path | None = None
    identification: dict[ObjectId, str] = Field(default_factory=dict)
    expect: dict[str, Any] = Field(default_factory=dict)
    writes: dict[str, Write] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.registers or self.identification) == (self.recording is not None):
            raise ValueError("give registers (and identification) or recording")
        if self.recording is not None and self.writes:
            raise ValueError("writes need registers: a recording cannot take them")
        if not self.expect and not self.writes:
            raise ValueError("nothing is expected")
        return self

    def fill(self, memory: Memory, base: int) -> None:
        """Put its registers where a device with `base` has them. Raises InvalidConfig."""
        for table, cells in self.registers.items():
            for address, text in cells.items():
                memory.put(table, base + address, _cells(table, text))
        for each, text in self.identification.items():
            memory.objects[number_of(each)] = text.encode()


def vectors_of(profile: Path) -> list[Vector]:
    """Raises InvalidConfig."""
    found = read_profile(profile, {"host": "127.0.0.1"})
    vectors = []
    for number, written in enumerate(found.tests, 1):
        try:
            vectors.append(Vector.model_validate(written))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidConfig(f"{profile}: test {number}: {where}: {first['msg']}") from error
    return vectors


def vector_named(profile: Path, name: str) -> Vector:
    """One of a profile's vectors, with registers, by its name or number. Raises InvalidConfig."""
    vectors = vectors_of(profile)
    for number, vector in enumerate(vectors, 1):
        if name in (vector.name, str(number)) and vector.registers:
            return vector
    known = ", ".join(repr(vector.name or str(number)) for number, vector in enumerate(vectors, 1)) or "none"
    raise InvalidConfig(f"{profile} has no test {name!r} with registers; it has {known}")


async def run_vector(profile: Path, vector: Vector) -> list[str]:
    """What is wrong; nothing if it passes. Raises InvalidConfig."""
    given = read_profile(profile, {"host": "127.0.0.1"})
    memory = Machine(given.settings.points(given.model)).memory
    vector.fill(memory, given.settings.base)
    unit, server = 1, Server({1: memory})
    if vector.recording is not None:
        recorded = by_endpoint(read_recording(profile.parent / vector.recording))
        server = ReplayServer(next(iter(recorded.values()), []))
        unit = min(server.known_units, default=1)
    adapter = ModbusAdapter()
    try:
        port = await server.serve_tcp()
        found = read_profile(profile, {"host": "127.0.0.1", "port": port, "unit": unit})
        driver = adapter.driver(found.device, SilentPort())
        assert isinstance(driver, ModbusDriver)
        points = {point.name: point for point in found.settings.points(found.model)}
        judge = None if found.model is None else Judge(found.model)
        wrong = await _read(driver, vector, judge)
        return [*wrong, *[each async for each in _write(driver, vector, memory, points, judge)]]
    finally:
        await adapter.stop()
        server.close()


async def _read(driver: ModbusDriver, vector: Vector, judge: Judge | None) -> list[str]:
    try:
        values = await driver.read()
    except DeviceError as error:
        return [error.message]
    return [*_differences(driver, vector.expect, values), *_refused(judge, values)]


def _refused(judge: Judge | None, values: Mapping[str, Value]) -> Iterator[str]:
    """What no twin would show, right as it may be."""
    if judge is None:
        return
    for name, value in values.items():
        try:
            judge.reported(name, value)
        except (InvalidValue, TooLarge) as error:
            yield f"the model refuses {error.message}"


def _differences(driver: ModbusDriver, expected: dict[str, Value], values: Any) -> Iterator[str]:
    for name, value in expected.items():
        if name not in values:
            yield f"{name} could not be read: {driver.problem_with(name)}"
        elif values[name] != value and not _is_read_so(driver, name, value, values[name]):
            yield f"{name} is {values[name]!r} instead of {value!r}"


def _is_read_so(driver: ModbusDriver, name: str, expected: Value, observed: Value) -> bool:
    """Whether the registers that hold what is expected are read as this: a float may be written with more digits than
    it has, but no tolerance counts, or an altered byte could pass."""
    try:
        return driver.reads_as(name, expected) == observed
    except (DeviceError, InvalidValue):
        return False


async def _write(
    driver: ModbusDriver, vector: Vector, memory: Memory, points: dict[str, Point], judge: Judge | None
) -> Any:
    for name, write in vector.writes.items():
        point = points.get(name)
        if point is None:
            yield f"there is no property {name!r} to write"
            continue
        try:
            value = write.value if judge is None else judge.desired(name, write.value)
            await driver.write(name, value)
            cells = memory.get(point.table, point.address, point.count)
        except (DeviceError, InvalidValue, TooLarge, NoSuchCell) as error:
            yield f"{name} = {write.value!r}: {error}"
            continue
        held = b"".join(cell.to_bytes(point.table.width, "big") for cell in cells)
        if held != _cells(point.table, write.registers):
            yield f"{name} = {write.value!r} wrote {held.hex(' ', 2)} instead of {write.registers}"


def _cells(table: Table, text: str) -> bytes:
    """`"00E6 1234"` or, for bits, `"1 0 1"` → cells as the adapter handles them."""
    digits = "".join(text.split())
    try:
        data = bytes(int(digit, 2) for digit in digits) if table.of_bits else bytes.fromhex(digits)
    except ValueError:
        data = b""
    if not data or len(data) % table.width:
        wanted = "bits such as 1 0 1" if table.of_bits else "registers such as 00E6 1234"
        raise InvalidConfig(f"{text!r} does not stand for {wanted}")
    return data
