"""What a device document says about one property: where it lies, how it is read, when it is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twingateway.adapter import Duration, Model
from twingateway_modbus.bounds import NO_BOUNDS, Bounds
from twingateway_modbus.codec import BitField, Codec
from twingateway_modbus.layout import (
    ADDRESSES,
    BYTES,
    FLOATS,
    INTEGERS,
    SIGNED,
    UNSIGNED,
    DataType,
    Half,
    Order,
    registers_of,
)
from twingateway_modbus.linear import Linear
from twingateway_modbus.names import names_in
from twingateway_modbus.plan import MAX_REGISTERS
from twingateway_modbus.point import Point, Table, WriteWith
from twingateway_modbus.reporting import ReportingSettings, reporting

LAST_ADDRESS = 0xFFFF
_MOST_WRITTEN = 123

#: Factors a register map may hold; between them arithmetic on 64-bit values stays exact.
_Factor = Annotated[Decimal, Field(allow_inf_nan=False, ge=Decimal("-1e9"), le=Decimal("1e9"), decimal_places=12)]
_Bound = Annotated[Decimal, Field(allow_inf_nan=False)]
_Step = Annotated[Decimal, Field(allow_inf_nan=False, gt=0)]
Period = Annotated[Duration, Field(ge=0.02, le=86400)]
_Address = Annotated[int, Field(ge=0, le=LAST_ADDRESS)]
_Names = Annotated[dict[int, str], Field(min_length=1)] | Literal["model"]


@lru_cache(maxsize=4096)
def _shared(codec: Codec) -> Codec:
    """One codec for all that are equal: a thousand meters of one type have thirty, not thirty thousand."""
    return codec


class GroupSettings(ReportingSettings):
    """What several properties of a device have in common."""

    period: Period | None = Field(None, description="How often they are read, if not as often as the device.")


_NO_GROUP = GroupSettings.model_validate({})


@dataclass(frozen=True, slots=True)
class Common:
    """What a device says for all its properties: what is added to each address, seconds, its groups, what it and
    those above it say of reporting. `model`: gives names where a property wants them from there."""

    base: int = 0
    period: float = 1.0
    groups: Mapping[str, GroupSettings] = field(default_factory=dict)
    levels: tuple[ReportingSettings, ...] = ()
    model: Model | None = None


class PropertySettings(ReportingSettings):
    """Where one property lies and how its registers are read."""

    table: Table = Field(description="holding and coil can be written, input and discrete only read.")
    address: _Address = Field(
        description="Zero-based protocol address: what manuals call register 40001 or 30001 is address 0."
    )
    type: DataType | None = Field(None, description="Needed for holding and input; coil and discrete are bool.")
    order: Order = Field(Order.ABCD, description="Byte order; ABCD is the specification's (big endian).")
    byte: Half | None = Field(None, description="Where int8 and uint8, or one character a register, lie; low.")
    count: int | None = Field(None, ge=1, le=2000, description="An array of so many elements.")
    scale: _Factor = Field(Decimal(1), description="value = register × scale + offset")
    offset: _Factor = Decimal(0)
    scale_register: _Address | None = Field(
        None, description="Address, in the same table, of an int16 with the power of ten to multiply by (SunSpec)."
    )
    bit: int | None = Field(None, ge=0, le=63, description="One bit as true or false; 0 is the least significant.")
    bits: tuple[int, int] | None = Field(None, description="First and last bit of a number inside the register.")
    length: int | None = Field(None, ge=1, le=MAX_REGISTERS, description="A string's length in registers.")
    enum: _Names | None = Field(None, description="Register content → name, or `model`: as the model says.")
    flags: _Names | None = Field(
        None, description="Bit → name, or `model`: as the model says; the value lists the bits that are set."
    )
    sentinels: list[int | Literal["nan"]] = Field(
        default_factory=list, description="Register contents by which the device says that it has no value."
    )
    writable: bool = False
    minimum: _Bound | None = Field(None, description="The least that is written; the model's bounds hold too.")
    maximum: _Bound | None = Field(None, description="The most that is written; the model's bounds hold too.")
    step: _Step | None = Field(None, description="Written are whole steps from minimum, or 0; the model's holds too.")
    write_with: WriteWith = WriteWith.AUTO
    tolerance: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="How far a value read back may be off; at least half a step."
    )
    period: Period | None = Field(None, description="How often it is read, if not as often as its group or device.")
    group: str | None = Field(None, description="One of the device's groups, whose period and reporting it has.")

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
        faults = (self._table_fault, self._string_fault, self._number_fault, self._bits_fault, self._write_fault)
        for fault in faults:
            if complaint := fault():
                raise ValueError(complaint)
        return self

    def _table_fault(self) -> str:
        if self.table.of_bits and self.data_type is not DataType.BOOL:
            return f"a {self.table} holds one bit: its type is bool, not {self.type}"
        if self.table.of_bits and (self.bit_field or self.order is not Order.ABCD):
            return f"a {self.table} holds one bit: bit, bits and order have no meaning for it"
        if not self.table.of_bits and self.type is None:
            return f"type is missing; a {self.table} register needs one (int16, float32, …)"
        size = (self.count or 1) * (1 if self.table.of_bits else registers_of(self.data_type, self.length or 0))
        if not self.table.of_bits and size > MAX_REGISTERS:
            return f"{size} registers; one request reads {MAX_REGISTERS}"
        if self.address + size - 1 > LAST_ADDRESS:
            return f"the value reaches beyond address {LAST_ADDRESS}"
        return ""

    def _string_fault(self) -> str:
        is_string = self.data_type is DataType.STRING
        if is_string and self.length is None:
            return "length is missing; a string needs its length in registers (two characters each)"
        if self.length is not None and not is_string:
            return f"length is for strings; {self.data_type} has its own"
        if is_string and self.order not in (Order.ABCD, Order.BADC):
            return "a string's order is ABCD, or BADC where the bytes in each register are swapped"
        if is_string and self.byte and self.order is not Order.ABCD:
            return "with byte there is one character in a register: leave order out"
        if self.byte and not is_string and self.data_type not in BYTES:
            return f"byte is for int8, uint8 and strings, not for {self.data_type}"
        return ""

    def _number_fault(self) -> str:
        is_number = self.data_type in INTEGERS | FLOATS and self.bit is None and not self.enum and not self.flags
        scaled = self.scale != 1 or self.offset != 0 or self.scale_register is not None
        if not is_number and (scaled or self.deadband or self.deadband_percent or self.tolerance or self._bounded):
            return "scale, scale_register, offset, deadband, tolerance, minimum, maximum and step are for numbers"
        if self.scale == 0:
            return "scale must not be 0"
        if self.enum and self.flags:
            return "give enum or flags, not both"
        if (self.enum or self.flags) and (self.data_type not in INTEGERS or self.bit is not None):
            return f"enum and flags are for whole numbers, not for {self.data_type if self.bit is None else 'a bit'}"
        if isinstance(self.enum, dict) and len(set(self.enum.values())) < len(self.enum):
            return "two contents of enum have the same name; writing could not tell them apart"
        return self._sentinel_fault()

    def _sentinel_fault(self) -> str:
        if "nan" in self.sentinels and self.data_type not in FLOATS:
            return "nan is a sentinel of floats"
        numbers = [each for each in self.sentinels if each != "nan"]
        if numbers and self.data_type not in INTEGERS | ADDRESSES:
            return f"{self.data_type} has no sentinels" + (" but nan" if self.data_type in FLOATS else "")
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
        last = (8 if self.data_type in BYTES else 16 * registers_of(self.data_type)) - 1
        if not 0 <= field.low <= field.high <= last:
            return f"bits count from 0 to {last} in {self.data_type}, the lower one first"
        return ""

    def _write_fault(self) -> str:
        if not self.writable and (self.write_with is not WriteWith.AUTO or self._bounded):
            return "write_with, minimum, maximum and step are for writable properties"
        if not self.writable:
            return ""
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            return f"minimum {self.minimum} is above maximum {self.maximum}"
        if not self.table.writable:
            other = "coil" if self.table.of_bits else "holding"
            return f"{self.table} cannot be written; only {other} can, or leave writable out"
        size = (self.count or 1) * registers_of(self.data_type, self.length or 0)
        if not self.table.of_bits and size > _MOST_WRITTEN:
            return f"{size} registers; one request writes {_MOST_WRITTEN}"
        one = (self.bit_field is not None or self.data_type in BYTES) and size == 1 and not self.table.of_bits
        if self.write_with is WriteWith.MASK and not one:
            return "mask is for bits, or a byte, inside one holding register"
        if self.write_with is WriteWith.READ_WRITE and (self.table.of_bits or self.scale_register is not None):
            return "read-write is for holding registers without a scale register"
        return ""

    @property
    def _bounded(self) -> bool:
        return (self.minimum, self.maximum, self.step) != (None, None, None)

    def _sentinel_numbers(self) -> frozenset[int]:
        """As the codec compares them: a negative number's two's complement was meant by a large one."""
        numbers = {int(each) for each in self.sentinels if each != "nan"}
        if self.data_type in SIGNED:
            width = 8 if self.data_type in BYTES else 16 * registers_of(self.data_type)
            numbers |= {number - (1 << width) for number in numbers if number >= 1 << width - 1}
        return frozenset(numbers)

    @property
    def can_be_told(self) -> bool:
        """Whether it can be written without anything being read before or after."""
        looks = self.bit_field is not None or self.data_type in BYTES or self.write_with is WriteWith.READ_WRITE
        masked = self.write_with is WriteWith.MASK
        return self.writable and self.scale_register is None and (masked or self.table.of_bits or not looks)

    @property
    def needs_model(self) -> bool:
        return "model" in (self.enum, self.flags)

    def point(self, name: str, common: Common) -> Point:
        """As the planner and the driver use it. Without the model that it needs it has numbers for names. Raises
        InvalidConfig if the model does not have them."""
        base, model = common.base, common.model
        group = _NO_GROUP if self.group is None else common.groups[self.group]
        codec = _shared(
            Codec(
                self.data_type,
                self.order,
                Linear.of(self.scale, self.offset),
                self.bit_field,
                self.length or 0,
                self.byte,
                self.count,
                self._sentinel_numbers(),
                "nan" in self.sentinels,
                self._names(self.enum, name, model, of_bits=False),
                self._names(self.flags, name, model, of_bits=True),
            )
        )
        return Point(
            name,
            self.table,
            base + self.address,
            codec,
            self.period or group.period or common.period,
            reporting((self, group, *common.levels)),
            self.writable,
            None if self.scale_register is None else base + self.scale_register,
            write_with=self.write_with,
            tolerance=self.tolerance,
            bounds=Bounds(self.minimum, self.maximum, self.step) if self._bounded else NO_BOUNDS,
            is_whole=self.count is not None and _has_items(model, name),
        )

    @staticmethod
    def _names(
        given: dict[int, str] | Literal["model"] | None, name: str, model: Model | None, *, of_bits: bool
    ) -> dict[int, str] | None:
        if given != "model":
            return given
        return None if model is None else names_in(model, name, of_bits=of_bits)


def _has_items(model: Model | None, name: str) -> bool:
    known = None if model is None else model.properties.get(name)
    return known is not None and known.items is not None
