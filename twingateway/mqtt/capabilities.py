"""How two of our nodes recognise each other: MQTT 5 user properties in CONNECT and CONNACK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twingateway.errors import ProtocolViolation
from twingateway.mqtt.reasons import ReasonCode

#: The user property whose presence makes a peer one of ours; its value is the protocol version.
PROTOCOL = "twingateway"
PROTOCOL_VERSION = "1"


def to_user_properties(capabilities: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(PROTOCOL, PROTOCOL_VERSION), *((k, v) for k, v in capabilities.items() if k != PROTOCOL)]


def from_user_properties(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A peer's capabilities, empty when it is not one of ours. Raises ProtocolViolation when they cannot be used."""
    pairs = list(pairs)
    capabilities = dict(pairs)
    if PROTOCOL not in capabilities:
        return {}
    if len(capabilities) != len(pairs):
        raise ProtocolViolation("a capability is given twice", ReasonCode.PROTOCOL_ERROR)
    if capabilities[PROTOCOL] != PROTOCOL_VERSION:
        raise ProtocolViolation(
            f"{PROTOCOL} version {capabilities[PROTOCOL]!r} is not spoken here, only {PROTOCOL_VERSION!r}",
            ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        )
    return capabilities
