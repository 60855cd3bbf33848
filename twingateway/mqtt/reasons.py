"""Which MQTT 5 reason code tells a peer about each error of ours."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from twingateway.errors import ProtocolViolation, TwinGatewayError


class ReasonCode(IntEnum):
    """The reason codes (MQTT 5, 2.4) that a node sends."""

    SUCCESS = 0x00
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    TOPIC_NAME_INVALID = 0x90
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C


REASON: Mapping[str, int] = {
    "internal": ReasonCode.UNSPECIFIED_ERROR,
    "invalid-document": ReasonCode.PAYLOAD_FORMAT_INVALID,
    "invalid-config": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "malformed-text": ReasonCode.PAYLOAD_FORMAT_INVALID,
    "invalid-value": ReasonCode.PAYLOAD_FORMAT_INVALID,
    "too-large": ReasonCode.PACKET_TOO_LARGE,
    "not-found": ReasonCode.TOPIC_NAME_INVALID,
    "unknown-twin": ReasonCode.TOPIC_NAME_INVALID,
    "unknown-model": ReasonCode.TOPIC_NAME_INVALID,
    "version-mismatch": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "model-conflict": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "not-root": ReasonCode.USE_ANOTHER_SERVER,
    "not-holder": ReasonCode.USE_ANOTHER_SERVER,
    "root-unreachable": ReasonCode.SERVER_UNAVAILABLE,
    "outcome-unknown": ReasonCode.UNSPECIFIED_ERROR,
    "read-only-path": ReasonCode.NOT_AUTHORIZED,
    "device-error": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "device-unreachable": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "device-timeout": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "device-reply-invalid": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "device-refused": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "write-mismatch": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "adapter-fault": ReasonCode.UNSPECIFIED_ERROR,
    "unknown-adapter": ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
    "link-error": ReasonCode.UNSPECIFIED_ERROR,
    "not-authorized": ReasonCode.NOT_AUTHORIZED,
    "protocol-violation": ReasonCode.PROTOCOL_ERROR,
    "store-error": ReasonCode.SERVER_UNAVAILABLE,
    "store-full": ReasonCode.QUOTA_EXCEEDED,
    "store-corrupt": ReasonCode.SERVER_UNAVAILABLE,
    "certificate-error": ReasonCode.NOT_AUTHORIZED,
    "broker-error": ReasonCode.SERVER_UNAVAILABLE,
    "unavailable": ReasonCode.SERVER_UNAVAILABLE,
}


def reason_code(error: TwinGatewayError) -> int:
    """The reason code for an error; a ProtocolViolation brings its own."""
    if isinstance(error, ProtocolViolation):
        return error.reason_code
    return REASON[error.code]
