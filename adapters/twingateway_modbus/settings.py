"""What a Modbus device document and the node's `adapters: modbus:` section may say."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twingateway.adapter import Duration
from twingateway_modbus.codec import FLOATS, UNSIGNED, BitField, Codec, DataType, Linear, Order, registers_of
from twingateway_modbus.plan import MAX_REGISTERS
from twingateway_modbus.point import Point, Table

_LAST_ADDRESS = 0xFFFF

#: Factors a register map may hold; between them arithmetic on 64-bit values stays exact.
_Factor = Annotated[Decimal, Field(allow_inf_nan=False, ge=Decimal("-1e9"), le=Decimal("1e9"), decimal_places=12)]
_Period = Annotated[Duration, Field(ge=0.02, le=86400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModbusSettings(_Strict):
    """Modbus needs nothing beyond its devices: write `modbus: {}`."""


class AddressSettings(_Strict):
    """Where the device answers. Devices with the same host and port share one connection."""

    host: str = Field(min_length=1, description="Host name or IP address.")
    port: int = Field(502, ge=1, le=65535)
    unit: int = Field(1, ge=0, le=255, description="Unit identifier, the address behind a gateway.")
    timeout: Annotated[Duration, Field(ge=0.01, le=60)] = Field(1.0, description="How long to wait for a reply.")


class PropertySettings(_Strict):
    """Where one property lies and how its registers are read."""

    table: Table = Field(description="holding and coil can be written, input and discrete only read.")
    address: int = Field(
        ge=0,
        le=_LAST_ADDRESS,
        description="Zero-based protocol address: what manuals call register 40001 or 30001 is address 0.",
    )
    type: DataType | None = Field(None, description="Needed for holding and input; coil and discrete are bool.")
    order: Order = Field(Order.ABCD, description="Byte order; ABCD is the specification's (big endian).")
    scale: _Factor = Field(Decimal(1), description="value = register × scale + offset")
    offset: _Factor = Decimal(0)
    bit: int | None = Field(None, ge=0, le=63, description="One bit as true or false; 0 is the least significant.")
    bits: tuple[int, int] | None = Field(None, description="First and last bit of a number inside the register.")
    length: int | None = Field(None, ge=1, le=MAX_REGISTERS, description="A string's length in registers.")
    deadband: float = Field(0.0, ge=0, allow_inf_nan=False, description="Smaller changes are not reported.")
    writable: bool = False
    period: _Period | None = Field(None, description="How often it is read, if not as often as the device.")

    @property
    def data_type(self) -> DataType:
        return self.type or DataType.BOOL

    @property
    def bit_field(self) -> BitField | None:
        if self.bit is not None:
            return BitField(self.bit, self.bit, flag=True)
        return BitField(*self.bits, flag=False) if self.bits is not None else None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for complaint in (self._table_fault(), self._type_fault(), self._bits_fault()):
            if complaint:
                raise ValueError(complaint)
        return self

    def _table_fault(self) -> str:
        if self.table.of_bits and self.data_type is not DataType.BOOL:
            return f"a {self.table} holds one bit: its type is bool, not {self.type}"
        if self.table.of_bits and (self.bit_field or self.order is not Order.ABCD):
            return f"a {self.table} holds one bit: bit, bits and order have no meaning for it"
        if not self.table.of_bits and self.type is None:
            return f"type is missing; a {self.table} register needs one (int16, float32, …)"
        if self.writable and not self.table.writable:
            other = "coil" if self.table.of_bits else "holding"
            return f"{self.table} cannot be written; only {other} can, or leave writable out"
        return ""

    def _type_fault(self) -> str:
        is_string = self.data_type is DataType.STRING
        if is_string and self.length is None:
            return "length is missing; a string needs its length in registers (two characters each)"
        if self.length is not None and not is_string:
            return f"length is for strings; {self.data_type} has its own"
        if is_string and self.order not in (Order.ABCD, Order.BADC):
            return "a string's order is ABCD, or BADC where the bytes in each register are swapped"
        plain = is_string or self.data_type is DataType.BOOL or self.bit is not None
        if plain and (self.scale != 1 or self.offset != 0 or self.deadband):
            return "scale, offset and deadband are for numbers"
        if self.scale == 0:
            return "scale must not be 0"
        if self.address + registers_of(self.data_type, self.length or 0) - 1 > _LAST_ADDRESS:
            return f"the value reaches beyond address {_LAST_ADDRESS}"
        return ""

    def _bits_fault(self) -> str:
        field = self.bit_field
        if field is None:
            return ""
        if self.bit is not None and self.bits is not None:
            return "give bit or bits, not both"
        if self.data_type not in UNSIGNED:
            kind = "a float" if self.data_type in FLOATS else str(self.data_type)
            return f"bits are taken from uint16, uint32 or uint64, not from {kind}"
        last = 16 * registers_of(self.data_type) - 1
        if not 0 <= field.low <= field.high <= last:
            return f"bits count from 0 to {last} in {self.data_type}, the lower one first"
        return ""


class DeviceSettings(_Strict):
    """A device document's `spec` for `adapter: modbus`."""

    address: AddressSettings
    period: _Period = Field(1.0, description="How often properties are read.")
    properties: dict[str, PropertySettings] = Field(min_length=1)

    def points(self) -> tuple[Point, ...]:
        """The properties as the planner and the driver use them."""
        return tuple(_point(name, settings, self.period) for name, settings in self.properties.items())


def _point(name: str, settings: PropertySettings, period: float) -> Point:
    codec = Codec(
        settings.data_type,
        settings.order,
        Linear.of(settings.scale, settings.offset),
        settings.bit_field,
        settings.length or 0,
    )
    return Point(
        name,
        settings.table,
        settings.address,
        codec,
        settings.period or period,
        settings.deadband,
        settings.writable,
    )
