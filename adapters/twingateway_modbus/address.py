"""Where a device answers and how to get there, as a device document says it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from twingateway.adapter import Duration


class FramingName(StrEnum):
    TCP = "tcp"
    RTU = "rtu"
    ASCII = "ascii"


class Transport(StrEnum):
    TCP = "tcp"
    TLS = "tls"
    UDP = "udp"
    RTU = "rtu"
    RTU_OVER_TCP = "rtu-over-tcp"
    ASCII = "ascii"
    ASCII_OVER_TCP = "ascii-over-tcp"

    @property
    def is_serial(self) -> bool:
        return self in (Transport.RTU, Transport.ASCII)

    @property
    def has_check_sum(self) -> bool:
        """Whether its frames tell altered bytes; those of Modbus/TCP leave it to the network."""
        return self in _SERIAL_FRAMES

    @property
    def framing(self) -> FramingName:
        return FramingName(self.value.partition("-")[0]) if self.has_check_sum else FramingName.TCP


_SERIAL_FRAMES = frozenset({Transport.RTU, Transport.RTU_OVER_TCP, Transport.ASCII, Transport.ASCII_OVER_TCP})
_PORTS = {Transport.TLS: 802}
_DEFAULT_PORT = 502
#: Units that a serial line addresses one by one, and all of them together: none answers to that.
_SERIAL_UNITS = range(1, 248)
BROADCAST = 0

Parity = Literal["none", "even", "odd"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialSettings(_Strict):
    """A serial line; all devices on one must say the same."""

    port: str = Field(min_length=1, description="The line's device file, such as /dev/ttyUSB0.")
    baud: int = Field(19200, ge=300, le=4_000_000)
    parity: Parity = "even"
    data_bits: Literal[7, 8] | None = Field(None, description="8; 7 for ascii.")
    stop_bits: Literal[1, 2] | None = Field(None, description="1; 2 where there is no parity.")
    echo: bool = Field(False, description="The line's adapter returns what is sent to it.")

    def bits_per_character(self, default_data_bits: int) -> int:
        """On the wire, with start, parity and stop bits."""
        stop = self.stop_bits or (2 if self.parity == "none" else 1)
        return 1 + (self.data_bits or default_data_bits) + (self.parity != "none") + stop


class TlsSettings(_Strict):
    """Modbus/TCP Security. The device's certificate is always verified."""

    ca_file: Path | None = Field(None, description="Who signs the device's certificate; the system's by default.")
    certificate_file: Path | None = Field(None, description="Our certificate, by which the device grants a role.")
    key_file: Path | None = None
    server_name: str | None = Field(None, description="The name in the device's certificate, if not host.")

    @model_validator(mode="after")
    def _locate(self, info: ValidationInfo) -> Self:
        """Relative paths count from the folder of the device file."""
        folder = Path((info.context or {}).get("folder", "."))
        for key in ("ca_file", "certificate_file", "key_file"):
            path = getattr(self, key)
            if path is not None:
                if not (folder / path).is_file():
                    raise ValueError(f"{key}: there is no file {folder / path}")
                object.__setattr__(self, key, folder / path)
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return self


class AddressSettings(_Strict):
    """Devices with the same host and port, or the same serial line, share its connections."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"anyOf": [{"required": ["host"]}, {"required": ["serial"]}]}
    )

    transport: Transport = Transport.TCP
    host: str | None = Field(None, min_length=1, description="Host name or IP address.")
    port: int | None = Field(None, ge=1, le=65535, description="502; 802 for tls.")
    serial: SerialSettings | None = Field(None, description="The line, for rtu and ascii.")
    tls: TlsSettings | None = None
    unit: int = Field(1, ge=0, le=255, description="Unit identifier, the address behind a gateway.")
    timeout: Annotated[Duration, Field(ge=0.01, le=60)] = Field(1.0, description="How long to wait for a reply.")
    delay: Annotated[Duration, Field(ge=0, le=10)] = Field(
        0.0, description="Pause between a reply and the next request on the same connection."
    )
    turnaround: Annotated[Duration, Field(ge=0, le=10)] = Field(
        0.1, description="Pause after a broadcast (unit 0 of a serial line), for the devices to carry it out."
    )
    connections: int = Field(1, ge=1, le=32, description="Connections to the endpoint, where the device allows more.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.transport.is_serial:
            fault = self._serial_fault()
        elif self.host is None:
            fault = "host is missing" if self.serial is None else "serial needs transport rtu or ascii"
        else:
            fault = f"serial has no meaning for {self.transport}" if self.serial else ""
        if self.tls is not None and self.transport is not Transport.TLS:
            fault = "tls settings need transport: tls"
        if not fault and self.transport in _SERIAL_FRAMES and self.unit not in (BROADCAST, *_SERIAL_UNITS):
            fault = "a serial line has the units 1 to 247, and 0 for all of them"
        if fault:
            raise ValueError(fault)
        return self

    def _serial_fault(self) -> str:
        if self.serial is None:
            return f"serial is missing; {self.transport} needs a line (for a host there is {self.transport}-over-tcp)"
        if self.host is not None or self.port is not None:
            return f"host and port have no meaning for {self.transport}; there is {self.transport}-over-tcp"
        return "a serial line is one connection" if self.connections > 1 else ""

    @property
    def endpoint(self) -> str:
        """What devices that share a link have in common, as people write it."""
        if self.serial is not None:
            return self.serial.port
        return f"{self.host}:{self.tcp_port}"

    def is_everybody(self, unit: int) -> bool:
        """Whether `unit` is all units of a serial line. On an IP network 0 is one like any other."""
        return unit == BROADCAST and self.transport in _SERIAL_FRAMES

    @property
    def tcp_port(self) -> int:
        return self.port or _PORTS.get(self.transport, _DEFAULT_PORT)

    @property
    def link_settings(self) -> AddressSettings:
        """What all devices of one endpoint have to agree on."""
        return self.model_copy(update={"unit": 1, "timeout": 1.0})
