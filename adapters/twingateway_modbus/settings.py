"""What a Modbus device document and the node's `adapters: modbus:` section may say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twingateway.adapter import Model
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.codec import Codec
from twingateway_modbus.identity import ObjectId
from twingateway_modbus.layout import DataType
from twingateway_modbus.plan import MAX_BITS, MAX_GAP, MAX_REGISTERS, Limits, Range
from twingateway_modbus.point import Point, Table
from twingateway_modbus.property import LAST_ADDRESS, Common, GroupSettings, Period, PropertySettings
from twingateway_modbus.reporting import ReportingSettings

#: On a serial line a request costs about as much as this many registers.
_SERIAL_GAP = 6
_Ranges = dict[Table, list[tuple[Annotated[int, Field(ge=0, le=LAST_ADDRESS)], int]]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModbusSettings(ReportingSettings):
    """Modbus needs nothing beyond its devices: write `modbus: {}`. What is said here counts for all of them."""


class ReadSettings(_Strict):
    """What the device lets one request read. Ranges are first and last address."""

    max_gap: int | None = Field(
        None, ge=0, le=2000, description=f"Unasked cells read to join neighbours: {MAX_GAP}, on serial {_SERIAL_GAP}."
    )
    max_registers: int = Field(MAX_REGISTERS, ge=1, le=MAX_REGISTERS)
    max_bits: int = Field(MAX_BITS, ge=1, le=MAX_BITS)
    readable: _Ranges = Field(default_factory=dict, description="Gaps outside of these are never read.")
    forbidden: _Ranges = Field(default_factory=dict, description="Never touched by any request.")


class DeviceSettings(ReportingSettings):
    """A device document's `spec` for `adapter: modbus`."""

    address: AddressSettings
    base: int = Field(0, ge=0, le=LAST_ADDRESS, description="Added to every address, where a map begins elsewhere.")
    period: Period = Field(1.0, description="How often properties are read.")
    groups: dict[str, GroupSettings] = Field(
        default_factory=dict, description="Period and reporting of properties that name one of them as their group."
    )
    read: ReadSettings = Field(default_factory=lambda: ReadSettings.model_validate({}))
    properties: dict[str, PropertySettings] = Field(min_length=1)
    identification: dict[str, ObjectId] = Field(
        default_factory=dict,
        description="Property → what the device says of itself (function 43/14): vendor, product_code, revision … or"
        " the number of an object. Read once, when the device is there.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, each in self.properties.items():
            if each.group is not None and each.group not in self.groups:
                raise ValueError(
                    f"{name}: there is no group {each.group!r}; there are {', '.join(self.groups) or 'none'}"
                )
        if both := self.properties.keys() & self.identification.keys():
            raise ValueError(f"{', '.join(sorted(both))}: both in properties and in identification")
        limits = self.limits()
        if self.address.is_everybody(self.address.unit):
            self._check_broadcast()
        for point in self.points():
            if point.end - 1 > LAST_ADDRESS:
                raise ValueError(f"{point.name} reaches beyond address {LAST_ADDRESS}")
            limit = limits.most(point.table)
            if point.count > limit:
                raise ValueError(f"{point.name} takes {point.count} cells, and one request may read {limit}")
            if not limits.allows(point.table, point.address, point.end):
                raise ValueError(f"{point.name} lies in a range of read.forbidden, or in none of read.readable")
        return self

    def _check_broadcast(self) -> None:
        if self.identification:
            raise ValueError("identification: unit 0 is all units of a line; none answers")
        for name, each in self.properties.items():
            if not each.can_be_told:
                raise ValueError(
                    f"{name}: unit 0 is all units of a line, which can only be written to: whole registers or coils,"
                    " or bits by write_with: mask, and no scale_register"
                )

    def limits(self) -> Limits:
        gap = self.read.max_gap
        if gap is None:
            gap = _SERIAL_GAP if self.address.serial else MAX_GAP
        return Limits(
            gap,
            self.read.max_registers,
            self.read.max_bits,
            {table: self._shifted(ranges) for table, ranges in self.read.readable.items()},
            {table: self._shifted(ranges) for table, ranges in self.read.forbidden.items()},
        )

    def _shifted(self, ranges: list[tuple[int, int]]) -> tuple[Range, ...]:
        return tuple(Range(self.base + first, self.base + last + 1) for first, last in ranges)

    @property
    def needs_model(self) -> tuple[str, ...]:
        """The properties whose names are the model's."""
        return tuple(name for name, settings in self.properties.items() if settings.needs_model)

    def points(self, model: Model | None = None, above: ReportingSettings | None = None) -> tuple[Point, ...]:
        """The properties as the planner and the driver use them, and their scale-factor registers, each read as often
        as what it scales. `above`: what is said for all devices. Raises InvalidConfig if `model` lacks names that are
        to come from it."""
        levels = (self,) if above is None else (self, above)
        common = Common(self.base, self.period, self.groups, levels, model)
        points = [each.point(name, common) for name, each in self.properties.items()]
        scales = {(point.table, point.scale_at, point.period) for point in points if point.scale_at is not None}
        return (*points, *(_scale(*each) for each in sorted(scales)))


def _scale(table: Table, address: int, period: float) -> Point:
    return Point(f"scale factor at {address}", table, address, Codec(DataType.INT16), period, is_scale=True)
