"""What a serial line's speed means: how long bytes take on it, and the silence that parts two frames. Pure.

The specification of Modbus over serial lines asks for 3.5 characters of silence between RTU frames; above 19,200 baud
for 1.75 ms, whatever a character takes. An ASCII frame says itself where it begins.
"""

from __future__ import annotations

from twingateway_modbus.address import AddressSettings, Transport

SILENT_CHARACTERS = 3.5
_FAST, _SILENCE_WHEN_FAST = 19200, 0.00175


def seconds_on_line(address: AddressSettings, size: int) -> float:
    """How long `size` bytes take; nothing where the link is no line of ours."""
    if address.serial is None:
        return 0.0
    data_bits = 7 if address.transport is Transport.ASCII else 8
    return size * address.serial.bits_per_character(data_bits) / address.serial.baud


def silence(address: AddressSettings) -> float:
    """Seconds between the end of a frame and the beginning of the next."""
    if address.serial is None or address.transport is not Transport.RTU:
        return 0.0
    if address.serial.baud > _FAST:
        return _SILENCE_WHEN_FAST
    return SILENT_CHARACTERS * seconds_on_line(address, 1)
