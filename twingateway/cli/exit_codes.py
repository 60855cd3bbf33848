"""What the program's exit code says: one exhaustive table from error code, one from the state of an acknowledgement.

A script can act on them: 6 and 8 may pass by themselves, 1 and 4 need another input, 3 another name.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    INVALID = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DEVICE_REFUSED = 5
    DEVICE_GONE = 6
    NOT_ALLOWED = 7
    NO_CONNECTION = 8
    STORE = 9
    UNFINISHED = 10
    INTERNAL = 70
    INTERRUPTED = 130


#: For `--help`, in the order of the codes.
MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.INVALID: "a document, configuration or value is not valid",
    ExitCode.USAGE: "the command line is not valid",
    ExitCode.NOT_FOUND: "there is no such twin, model, node or adapter",
    ExitCode.CONFLICT: "the node refuses: other content or version, read-only, not the root",
    ExitCode.DEVICE_REFUSED: "the device refused, or did not do what was asked",
    ExitCode.DEVICE_GONE: "the device cannot be reached or does not answer",
    ExitCode.NOT_ALLOWED: "a token or certificate is missing or not accepted",
    ExitCode.NO_CONNECTION: "the node, broker or peer cannot be reached",
    ExitCode.STORE: "the store is full, damaged or failed",
    ExitCode.UNFINISHED: "not everything was acknowledged within --wait, or the root did not answer",
    ExitCode.INTERNAL: "a fault of this program or of an adapter",
    ExitCode.INTERRUPTED: "ended by Ctrl-C",
}

#: Error code → exit code. Every code of the error tree is here.
BY_ERROR: dict[str, ExitCode] = {
    "internal": ExitCode.INTERNAL,
    "invalid-document": ExitCode.INVALID,
    "invalid-config": ExitCode.INVALID,
    "malformed-text": ExitCode.INVALID,
    "invalid-value": ExitCode.INVALID,
    "too-large": ExitCode.INVALID,
    "not-found": ExitCode.NOT_FOUND,
    "unknown-twin": ExitCode.NOT_FOUND,
    "unknown-model": ExitCode.NOT_FOUND,
    "version-mismatch": ExitCode.CONFLICT,
    "model-conflict": ExitCode.CONFLICT,
    "not-root": ExitCode.CONFLICT,
    "not-holder": ExitCode.CONFLICT,
    "root-unreachable": ExitCode.NO_CONNECTION,
    "outcome-unknown": ExitCode.UNFINISHED,
    "read-only-path": ExitCode.CONFLICT,
    "device-error": ExitCode.DEVICE_REFUSED,
    "device-unreachable": ExitCode.DEVICE_GONE,
    "device-timeout": ExitCode.DEVICE_GONE,
    "device-reply-invalid": ExitCode.DEVICE_REFUSED,
    "device-refused": ExitCode.DEVICE_REFUSED,
    "write-mismatch": ExitCode.DEVICE_REFUSED,
    "adapter-fault": ExitCode.INTERNAL,
    "unknown-adapter": ExitCode.NOT_FOUND,
    "link-error": ExitCode.NO_CONNECTION,
    "not-authorized": ExitCode.NOT_ALLOWED,
    "protocol-violation": ExitCode.NO_CONNECTION,
    "store-error": ExitCode.STORE,
    "store-full": ExitCode.STORE,
    "store-corrupt": ExitCode.STORE,
    "certificate-error": ExitCode.NOT_ALLOWED,
    "broker-error": ExitCode.NO_CONNECTION,
    "unavailable": ExitCode.NO_CONNECTION,
}

#: State of an acknowledgement → exit code of `set --wait`. Delivered counts as done if the device cannot confirm.
BY_ACK: dict[str, ExitCode] = {
    "applied": ExitCode.OK,
    "pending": ExitCode.UNFINISHED,
    "delivered": ExitCode.UNFINISHED,
    "rejected": ExitCode.DEVICE_REFUSED,
    "failed": ExitCode.DEVICE_REFUSED,
    "expired": ExitCode.DEVICE_REFUSED,
    "superseded": ExitCode.CONFLICT,
}


def for_acks(acks: list[tuple[str, str]]) -> ExitCode:
    """The exit code for acknowledgements given as (state, code): that of the first that failed, else of the first
    that waits, else OK."""
    codes = [ExitCode.OK if code == "unconfirmed" else BY_ACK[state] for state, code in acks]
    return min((code for code in codes if code), key=lambda code: code is ExitCode.UNFINISHED, default=ExitCode.OK)
