"""What the demo's MQTT devices really hold, asked of each with a socket and `struct` alone.

This shares no code with the adapter, the node's broker client or paho: the few MQTT 3.1.1 packets it needs are
written down here. Each device is asked on a topic that the adapter does not use.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

#: Seconds for all answers.
_TIMEOUT = 5.0

#: Device → what its topics begin with.
_BASES = {"lamp": "hall/lamp", "pump": "plant/pump-1", "greenhouse": "garden/greenhouse"}

_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _SUBACK, _DISCONNECT = 0x10, 0x20, 0x30, 0x82, 0x90, 0xE0


def read_truth(port: int) -> dict[str, dict[str, bool | int | float | str]]:
    """Every property of every device at the broker on 127.0.0.1:`port`: device → property → value. Raises OSError
    (TimeoutError when a device does not answer) or ValueError."""
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as connection:
        client = f"truth-{os.getpid()}".encode()
        connection.sendall(_packet(_CONNECT, _text(b"MQTT") + bytes([4, 2, 0, 60]) + _text(client)))
        _expect(connection, _CONNACK, b"\0\0")
        for number, base in enumerate(_BASES.values(), 1):
            connection.sendall(
                _packet(_SUBSCRIBE, struct.pack(">H", number) + _text(f"{base}/truth".encode()) + b"\0")
            )
            _expect(connection, _SUBACK, struct.pack(">HB", number, 0))
        for base in _BASES.values():
            connection.sendall(_packet(_PUBLISH, _text(f"{base}/truth/get".encode()) + b"?"))
        found = _collect(connection)
        connection.sendall(_packet(_DISCONNECT, b""))
    return found


def _collect(connection: socket.socket) -> dict[str, dict[str, Any]]:
    devices = {f"{base}/truth".encode(): device for device, base in _BASES.items()}
    found: dict[str, dict[str, Any]] = {}
    while len(found) < len(devices):
        try:
            kind, body = _receive(connection)
        except TimeoutError:
            missing = ", ".join(sorted(_BASES.keys() - found.keys()))
            raise TimeoutError(f"no answer from {missing} within {_TIMEOUT:g} s") from None
        end = 2 + int.from_bytes(body[:2], "big")
        device = devices.get(body[2:end])
        if kind & 0xF0 == _PUBLISH and device is not None:
            found[device] = json.loads(body[end:])
    return found


def _text(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


def _expect(connection: socket.socket, kind: int, body: bytes) -> None:
    received = _receive(connection)
    while received[0] & 0xF0 == _PUBLISH:
        # The embedded broker greets every client with the retained messages of all subscriptions, also of others.
        received = _receive(connection)
    if received != (kind, body):
        raise ValueError(f"the broker answered {received[0]:#x} {received[1].hex(' ')}")


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    kind, size, shift = _exactly(connection, 1)[0], 0, 0
    while True:
        digit = _exactly(connection, 1)[0]
        size |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return kind, _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the broker hung up")
        data += part
    return data
