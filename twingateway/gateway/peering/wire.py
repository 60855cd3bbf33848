"""Registers inside control messages: `[section, name, [incarnation, epoch, seq], value, time]`, by device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from twingateway.errors import InvalidValue, ProtocolViolation, TooLarge
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, Version
from twingateway.twin.value import MAX_INTEGER
from twingateway.validation.normalise import normalise

#: Registers in one message, so that it stays well below the limit of 1 MiB for values of ordinary size.
BATCH = 256


def batches(devices: Iterable[tuple[DeviceId, list[Register]]]) -> Iterator[dict[str, list[list[Any]]]]:
    """Messages' `devices` members: name → registers. A device is never split over two messages."""
    batch: dict[str, list[list[Any]]] = {}
    size = 0
    for device, registers in devices:
        if batch and size + len(registers) > BATCH:
            yield batch
            batch, size = {}, 0
        batch[device.name] = [_encode(register) for register in registers]
        size += len(registers)
    if batch:
        yield batch


def parse_devices(namespace: str, body: Any) -> dict[DeviceId, list[Register]]:
    """The inverse, for devices of `namespace`. Raises ProtocolViolation."""
    try:
        return {
            device: [_decode(device, entry) for entry in entries]
            for device, entries in ((parse_device(namespace, name), e) for name, e in body["devices"].items())
        }
    except (KeyError, TypeError, ValueError, AttributeError, InvalidValue, TooLarge) as error:
        raise ProtocolViolation(f"registers that make no sense: {error}") from error


def parse_device(namespace: str, name: Any) -> DeviceId:
    """A device's bare name, in the namespace of the peer that says it; raises InvalidValue."""
    return DeviceId.parse(f"{namespace}/{name}")


def parse_version(entry: Any) -> Version:
    """`[incarnation, epoch, seq]`; raises ValueError or TypeError."""
    incarnation, epoch, seq = entry
    if not all(type(part) is int and 0 <= part <= MAX_INTEGER for part in (incarnation, epoch, seq)):
        raise ValueError(f"{entry!r} is not a version")
    return Version(incarnation, epoch, seq)


def _encode(register: Register) -> list[Any]:
    key = register.key
    return [key.section.value, key.name, list(register.version), register.value, register.time]


def _decode(device: DeviceId, entry: Any) -> Register:
    section, name, version, value, time = entry
    if not isinstance(name, str) or type(time) is not int:
        raise ValueError("a name is text and a time a number")
    key = RegisterKey(device, Section(section), name)
    return Register(key, parse_version(version), normalise(value, name), time)
