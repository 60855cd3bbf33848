"""Captured exchanges in a file, a JSON object a line: `{"t": seconds, "endpoint": "plc:502", "unit": 1, "request":
"03…", "reply": "03…"}`, request and reply as PDUs in hexadecimal. Where no reply came that could be believed, `reply`
is null and `fault` says why."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from twingateway.errors import InvalidConfig
from twingateway_modbus.address import FramingName
from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.simulator.inbox import Asked
from twingateway_modbus.simulator.server import Server

_DEVICE_FAILURE = 4


class Exchange(NamedTuple):
    """`reply`: None where there was none. `endpoint`: empty where it was not kept."""

    t: float
    unit: int
    request: bytes
    reply: bytes | None
    endpoint: str = ""
    fault: str = ""

    def line(self) -> str:
        written: dict[str, Any] = {"t": round(self.t, 4), "endpoint": self.endpoint, "unit": self.unit}
        written["request"] = self.request.hex()
        written["reply"] = None if self.reply is None else self.reply.hex()
        if self.fault:
            written["fault"] = self.fault
        return json.dumps(written)

    @classmethod
    def of(cls, line: str) -> Exchange:
        """Raises ValueError, KeyError, TypeError."""
        each = json.loads(line)
        request, reply = bytes.fromhex(each["request"]), each["reply"]
        made = cls(
            float(each["t"]),
            int(each["unit"]),
            request,
            None if reply is None else bytes.fromhex(reply),
            str(each.get("endpoint", "")),
            str(each.get("fault", "")),
        )
        if not request or made.reply == b"":
            raise ValueError("an exchange with an empty request or reply")
        return made


def read_recording(path: Path) -> Iterator[Exchange]:
    """Raises InvalidConfig with file and line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield Exchange.of(line)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidConfig(f"{path}:{number}: not an exchange of a recording: {error}") from error


def by_endpoint(exchanges: Iterable[Exchange]) -> dict[str, list[Exchange]]:
    """Units of different endpoints may have the same number."""
    found: defaultdict[str, list[Exchange]] = defaultdict(list)
    for each in exchanges:
        found[each.endpoint].append(each)
    return dict(found)


class ReplayServer(Server):
    """Answers each request of one endpoint with what was recorded for it, silence too: in order, the last one from
    then on. A request that was not made is answered with the exception “device failure”, save by a unit that never
    answered anything."""

    def __init__(self, exchanges: Iterable[Exchange], framing: FramingName = FramingName.TCP) -> None:
        super().__init__({}, framing)
        self._replies: defaultdict[tuple[int, bytes], deque[bytes | None]] = defaultdict(deque)
        for each in exchanges:
            self._replies[each.unit, each.request].append(each.reply)
        self.known_units = {unit for (unit, _), replies in self._replies.items() if any(replies)}

    def pdu_for(self, asked: Asked) -> bytes | None:
        if asked.unit not in self.known_units:
            return None
        replies = self._replies.get((asked.unit, asked.pdu))
        if not replies:
            return bytes([asked.pdu[0] | EXCEPTION, _DEVICE_FAILURE])
        return replies.popleft() if len(replies) > 1 else replies[0]
