"""What the demo's Modbus devices really hold, read with a socket and `struct` alone.

This shares no code with the adapter or its library, so that a fault in those cannot hide itself: the frame, the
register numbers and the scales are written down here a second time.
"""

from __future__ import annotations

import socket
import struct

#: Seconds to wait for one reply.
_TIMEOUT = 5.0

#: Function, address, registers or bits, `struct` layout of the bytes as they arrive, word swap, divisor.
_Place = tuple[int, int, int, str, bool, int]

_COIL, _DISCRETE, _HOLDING, _INPUT = 1, 2, 3, 4

#: Device → unit, property → place. A layout of "s" is text, "?" a bit, "b3" bit 3, "n4" three bits from 4 on.
_MAP: dict[str, tuple[int, dict[str, _Place]]] = {
    "inverter": (
        1,
        {
            "state": (_INPUT, 0, 1, ">H", False, 1),
            "power": (_INPUT, 10, 2, ">i", False, 10),
            "energyToday": (_INPUT, 12, 2, ">I", False, 100),
            "energyTotal": (_INPUT, 14, 4, ">Q", False, 1),
            "voltage": (_INPUT, 18, 1, ">H", False, 10),
            "frequency": (_INPUT, 19, 1, ">H", False, 100),
            "temperature": (_INPUT, 20, 2, ">f", False, 1),
            "serial": (_HOLDING, 50, 8, "s", False, 1),
            "powerLimit": (_HOLDING, 100, 1, ">H", False, 1),
        },
    ),
    "meter": (
        2,
        {
            "voltageL1": (_HOLDING, 0, 2, ">f", True, 1),
            "voltageL2": (_HOLDING, 2, 2, ">f", True, 1),
            "voltageL3": (_HOLDING, 4, 2, ">f", True, 1),
            "power": (_HOLDING, 6, 2, ">f", True, 1),
            "frequency": (_HOLDING, 8, 2, ">f", True, 1),
            "energyImported": (_HOLDING, 20, 4, ">Q", True, 1000),
            "energyExported": (_HOLDING, 24, 4, ">Q", True, 1000),
            "powerFactor": (_HOLDING, 30, 1, ">h", False, 1000),
        },
    ),
    "hvac": (
        3,
        {
            "roomTemperature": (_INPUT, 0, 1, ">h", False, 10),
            "supplyTemperature": (_INPUT, 1, 1, ">h", False, 10),
            "heating": (_INPUT, 2, 1, "b0", False, 1),
            "cooling": (_INPUT, 2, 1, "b1", False, 1),
            "fanStage": (_INPUT, 2, 1, "n4", False, 1),
            "filterAlarm": (_DISCRETE, 0, 1, "?", False, 1),
            "setpoint": (_HOLDING, 100, 1, ">h", False, 10),
            "mode": (_HOLDING, 101, 1, ">H", False, 1),
            "fan": (_COIL, 0, 1, "?", False, 1),
        },
    ),
}


def read_truth(port: int) -> dict[str, dict[str, bool | int | float | str]]:
    """Every property of every device of the site on 127.0.0.1:`port`, over a connection of its own: device → property
    → value. Raises OSError or ValueError."""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as connection:
        return {
            device: {name: _value(_fetch(connection, unit, place), place) for name, place in places.items()}
            for device, (unit, places) in _MAP.items()
        }


def _fetch(connection: socket.socket, unit: int, place: _Place) -> bytes:
    function, address, count, *_ = place
    connection.sendall(struct.pack(">HHHBBHH", address, 0, 6, unit, function, address, count))
    transaction, protocol, length, answering = struct.unpack(">HHHB", _receive(connection, 7))
    body = _receive(connection, length - 1)
    if (transaction, protocol, answering, body[0], body[1]) != (address, 0, unit, function, len(body) - 2):
        raise ValueError(f"unit {unit} answered {body.hex(' ')} when asked for {count} at {address}")
    return body[2:]


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the device hung up")
        data += part
    return data


def _value(data: bytes, place: _Place) -> bool | int | float | str:
    *_, layout, swapped, divisor = place
    if swapped:
        data = b"".join(data[i : i + 2] for i in range(len(data) - 2, -1, -2))
    if layout == "s":
        return data.rstrip(b"\0").decode()
    if layout == "?":
        return bool(data[0] & 1)
    if layout[0] in "bn":
        shifted = int.from_bytes(data, "big") >> int(layout[1])
        return bool(shifted & 1) if layout[0] == "b" else shifted & 0b111
    (raw,) = struct.unpack(layout, data)
    return raw / divisor if divisor != 1 else raw  # type: ignore[no-any-return]
