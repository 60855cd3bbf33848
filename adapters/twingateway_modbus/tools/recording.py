"""Captured exchanges in a file, a JSON object a line: `{"t": seconds, "unit": 1, "request": "03…", "reply": "03…"}`,
request and reply as PDUs in hexadecimal."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from twingateway.errors import InvalidConfig
from twingateway_modbus.address import FramingName
from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.simulator.inbox import Asked
from twingateway_modbus.simulator.server import Server

_DEVICE_FAILURE = 4


class Exchange(NamedTuple):
    t: float
    unit: int
    request: bytes
    reply: bytes

    def line(self) -> str:
        return json.dumps(
            {"t": round(self.t, 4), "unit": self.unit, "request": self.request.hex(), "reply": self.reply.hex()}
        )


def read_recording(path: Path) -> Iterator[Exchange]:
    """Raises InvalidConfig with file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            each = json.loads(line)
            request, reply = bytes.fromhex(each["request"]), bytes.fromhex(each["reply"])
            exchange = Exchange(float(each["t"]), int(each["unit"]), request, reply)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidConfig(f"{path}:{number}: not an exchange of a recording: {error}") from error
        if not request or not reply:
            raise InvalidConfig(f"{path}:{number}: an exchange without request or reply")
        yield exchange


class ReplayServer(Server):
    """Answers each request with what was recorded for it: in order, the last one from then on. A request that was not
    made is answered with the exception “device failure”."""

    def __init__(self, exchanges: Iterable[Exchange], framing: FramingName = FramingName.TCP) -> None:
        super().__init__({}, framing)
        self._replies: defaultdict[tuple[int, bytes], deque[bytes]] = defaultdict(deque)
        for each in exchanges:
            self._replies[each.unit, each.request].append(each.reply)
        self.known_units = {unit for unit, _ in self._replies}

    def pdu_for(self, asked: Asked) -> bytes | None:
        if asked.unit not in self.known_units:
            return None
        replies = self._replies.get((asked.unit, asked.pdu))
        if not replies:
            return bytes([asked.pdu[0] | EXCEPTION, _DEVICE_FAILURE])
        return replies.popleft() if len(replies) > 1 else replies[0]
