"""The topics by which a broker that is no node of ours is told of twins, and asked for desired values.

twins/{namespace}/{device}/reported        retained   what the device reports
twins/{namespace}/{device}/desired         retained   what is wanted, and its version
twins/{namespace}/{device}/ack             retained   how far each desired value has come
twins/{namespace}/{device}/presence        retained   whether the device answers, and who holds it
twins/{namespace}/{device}/desired/set                to us: change desired values
twins/{namespace}/{device}/desired/result             what became of that
nodes/{namespace}/{node}                   retained   whether the node itself is there; its last will
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

_TWINS, _NODES = "twins", "nodes"


class Kind(StrEnum):
    """What a device's topic is about."""

    REPORTED = "reported"
    DESIRED = "desired"
    ACK = "ack"
    PRESENCE = "presence"
    SET = "desired/set"
    RESULT = "desired/result"


#: The documents that are retained.
DOCUMENTS = (Kind.REPORTED, Kind.DESIRED, Kind.ACK, Kind.PRESENCE)


class TwinTopic(NamedTuple):
    namespace: str
    device: str
    kind: Kind

    def __str__(self) -> str:
        return f"{_TWINS}/{self.namespace}/{self.device}/{self.kind.value}"

    @classmethod
    def parse(cls, topic: str) -> TwinTopic | None:
        """None for any other topic."""
        parts = topic.split("/", 3)
        if len(parts) != 4 or parts[0] != _TWINS or parts[3] not in list(Kind):
            return None
        return cls(parts[1], parts[2], Kind(parts[3]))


def sets_filter(namespace: str) -> str:
    """Matches every device's `desired/set`."""
    return f"{_TWINS}/{namespace}/+/{Kind.SET.value}"


def node_topic(namespace: str, node: str) -> str:
    return f"{_NODES}/{namespace}/{node}"
