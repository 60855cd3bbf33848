"""One request that is made again and again: its schedule, what it knows of the last answer, how it fares.

Strategy: an answer that is the same as the last one, by ETag or byte for byte, is neither parsed nor picked again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from twingateway.errors import DeviceError, DeviceReplyInvalid
from twingateway_http.document import parse_json
from twingateway_http.endpoint import Answer, Call, Endpoint
from twingateway_http.reading import Point, Reading, Shape
from twingateway_http.settings import Names, RequestSettings
from twingateway_http.statuses import is_success

_NOT_MODIFIED = 304
#: A request that fails is made less and less often, but at least this often (seconds) or once in its period.
_SLOWEST = 5.0


class Poll:
    """`due` is on the event loop's clock and never drifts. `error` is why the last attempt failed, if it did."""

    def __init__(self, settings: RequestSettings, period: float, points: Iterable[Point], names: Names) -> None:
        body = None if settings.body is None else json.dumps(settings.body).encode()
        self.call = Call(settings.method, names.expand(settings.path), body, repeatable=settings.method == "GET")
        self.period = settings.period or period
        self.due = 0.0
        self.error: DeviceError | None = None
        self.failures = 0
        self.faults: tuple[DeviceError, ...] = ()
        self._shape = Shape(tuple(points), settings.time)
        self._etag = ""
        self._body: bytes | None = None
        self._reading = Reading()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(point.name for point in self._shape.points)

    def prepared(self, *, fresh: bool) -> Call:
        """The call to make; `fresh`: the device is to answer in full."""
        if fresh or not self._etag:
            return self.call
        headers = {"if-none-match": self._etag}
        return Call(self.call.method, self.call.path, self.call.body, headers, self.call.repeatable)

    def take(self, call: Call, answer: Answer, endpoint: Endpoint) -> Reading:
        """What the answer to `call` says. Raises DeviceError when it cannot be used at all."""
        if answer.status == _NOT_MODIFIED and "if-none-match" in call.headers:
            return self._reading
        if not is_success(answer.status):
            raise endpoint.refusal(call, answer)
        if answer.body != self._body:
            self._read(answer.body)
        # A weak tag will do: it changes with everything that matters to whoever made the answer.
        self._etag = answer.headers.get("etag", "") if self.call.method == "GET" else ""
        return self._reading

    def _read(self, body: bytes) -> None:
        self.forget()
        try:
            reading = self._shape.read(parse_json(body))
        except DeviceReplyInvalid as error:
            raise DeviceReplyInvalid(f"{self.call}: {error.message}") from None
        faults = {
            name: DeviceReplyInvalid(f"{self.call}: {fault.message}", **fault.detail)
            for name, fault in reading.faults.items()
        }
        if faults and not reading.values:
            raise next(iter(faults.values()))
        self._reading, self._body = Reading(reading.values, faults, reading.time), body

    def succeeded(self, reading: Reading) -> None:
        self.error, self.failures = None, 0
        self.faults = tuple(reading.faults.values())

    def failed(self, error: DeviceError) -> None:
        self.error = error
        self.failures += 1

    def forget(self) -> None:
        """The next answer is read whatever it is: a device that was away may have begun its tags anew."""
        self._etag, self._body, self._reading = "", None, Reading()

    def advance(self, now: float, not_before: float) -> None:
        """To a multiple of the period that lies ahead; those that were missed are left out."""
        if self.failures:
            slowest = max(self.period, _SLOWEST)
            not_before = max(not_before, self.due + min(self.period * 2 ** min(self.failures - 1, 16), slowest))
        passed = int((now - self.due) // self.period) + 1
        waiting = math.ceil(max(0.0, not_before - self.due) / self.period)
        self.due += self.period * max(passed, waiting)
