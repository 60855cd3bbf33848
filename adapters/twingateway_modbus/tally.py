"""What is counted of one link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from twingateway.adapter import Figure
from twingateway.errors import DeviceError, DeviceReplyInvalid, DeviceTimeout


class Failure(StrEnum):
    """What became of a request that was not answered with what was asked for."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    REPLY = "reply"
    EXCEPTION = "exception"


@dataclass(slots=True)
class Tally:
    """Since the link was made. `busy`: seconds in which requests waited for their replies."""

    requests: int = 0
    busy: float = 0.0
    failures: Counter[Failure] = field(default_factory=Counter)

    def failed(self, error: DeviceError) -> Failure:
        failure = _failure(error)
        self.failures[failure] += 1
        return failure

    def figures(self, endpoint: str, resting: int, connections: int) -> Iterator[Figure]:
        """`resting`: units that are left alone at present; `connections`: how many there are."""
        at = {"endpoint": endpoint}
        yield Figure("requests", "Requests sent", self.requests, at, grows=True)
        yield Figure("busy_seconds", "Time spent waiting for replies", self.busy, at, grows=True)
        yield Figure("connections", "Connections to the endpoint", connections, at)
        yield Figure("units_resting", "Units that are left alone after failures", resting, at)
        for failure in Failure:
            labels = {**at, "kind": str(failure)}
            yield Figure("failures", "Requests without a good reply", self.failures[failure], labels, grows=True)


def _failure(error: DeviceError) -> Failure:
    if "exception" in error.detail:
        return Failure.EXCEPTION
    if isinstance(error, DeviceReplyInvalid):
        return Failure.REPLY
    return Failure.TIMEOUT if isinstance(error, DeviceTimeout) else Failure.CONNECTION
