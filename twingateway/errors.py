"""Every error this project raises on purpose, as one tree with stable codes.

A code is part of the public interface: faces (HTTP, MQTT, exit codes) hold one exhaustive table from code to
their own answer, and a test walks `all_codes()` against each of them. Foreign exceptions are translated into this
tree exactly at the seam where they arise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document or a value.

    `path` is a dotted path inside the document (`spec.desiredProperties.speed`), empty for the whole of it.
    `rule` is the keyword or constraint that refused it (`maximum`, `type`, `step`, `required` …).
    `line` is one-based, 0 when unknown.
    """

    message: str
    path: str = ""
    rule: str = ""
    line: int = 0
    file: str = ""

    def __str__(self) -> str:
        where = ":".join(part for part in (self.file, str(self.line) if self.line else "") if part)
        return ": ".join(part for part in (where, self.path, self.message) if part)


class TwinGatewayError(Exception):
    """Base of the tree. `message` is one sentence for a person: what is wrong and, where known, what to do."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **detail: Any) -> None:
        super().__init__(message)
        self.message = message
        #: Further facts by name, fit for JSON (for instance `current_version`, `root`, `property`).
        self.detail: dict[str, Any] = detail


# --- documents and values -------------------------------------------------------------------------------------


class InvalidDocument(TwinGatewayError):
    """A document is not what it claims to be. `problems` lists everything found, in document order."""

    code = "invalid-document"

    def __init__(self, message: str, problems: Sequence[Problem] = (), **detail: Any) -> None:
        super().__init__(message, **detail)
        self.problems: tuple[Problem, ...] = tuple(problems)


class InvalidConfig(InvalidDocument):
    """A node file or a device file is wrong."""

    code = "invalid-config"


class MalformedText(InvalidDocument):
    """Not YAML, JSON or CBOR at all."""

    code = "malformed-text"


class InvalidValue(TwinGatewayError):
    """One property's value was refused; it replaces nothing. `problem.path` names the property."""

    code = "invalid-value"

    def __init__(self, problem: Problem, **detail: Any) -> None:
        super().__init__(str(problem), **detail)
        self.problem = problem


class TooLarge(TwinGatewayError):
    """Larger or deeper than the limits allow (64 KiB, 16 levels)."""

    code = "too-large"


# --- finding and changing twins -------------------------------------------------------------------------------


class NotFound(TwinGatewayError):
    """There is no such thing."""

    code = "not-found"


class UnknownTwin(NotFound):
    code = "unknown-twin"


class UnknownModel(NotFound):
    code = "unknown-model"


class VersionMismatch(TwinGatewayError):
    """An `If-Match` did not hold. `detail["current"]` is the version that does, None if there is no twin."""

    code = "version-mismatch"


class ModelConflict(TwinGatewayError):
    """A model of this name and version exists with other content."""

    code = "model-conflict"


class NotRoot(TwinGatewayError):
    """Desired values are written at the root; this node is not it. `detail["root"]` names it where known."""

    code = "not-root"


class RootUnreachable(TwinGatewayError):
    """A write has to be made at the root, which cannot be reached now. Nothing happened. `detail["root"]` names it
    where known."""

    code = "root-unreachable"


class OutcomeUnknown(TwinGatewayError):
    """A write was sent to the root, which did not answer: it may or may not have been made. `detail["write"]` is its
    id; sent again under it, it is not made twice."""

    code = "outcome-unknown"


class NotHolder(TwinGatewayError):
    """A local override is set at the node that holds the device; this node is not it, or is the root itself.
    `detail["holder"]` names it where known."""

    code = "not-holder"


class ReadOnlyPath(TwinGatewayError):
    """A patch touched something that clients may not write. `detail["path"]` names it."""

    code = "read-only-path"


# --- devices and adapters -------------------------------------------------------------------------------------


class DeviceError(TwinGatewayError):
    """A device did not do what was asked. The message is what `status.source` and an ack show to people.

    `transient` says whether trying again later may help: a transient failure leaves a desired value `delivered`
    until the device returns, any other one ends it as `failed`.
    """

    code = "device-error"
    transient: ClassVar[bool] = False


class DeviceUnreachable(DeviceError):
    """No connection, or none any more."""

    code = "device-unreachable"
    transient = True


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""

    code = "device-timeout"
    transient = True


class DeviceReplyInvalid(DeviceError):
    """The device answered with something that its protocol does not allow; nothing of it was used."""

    code = "device-reply-invalid"
    transient = True


class DeviceRefused(DeviceError):
    """The device understood and said no (a Modbus exception, an HTTP 4xx). What an adapter does not even send,
    because the device has no way to hold it, is an `InvalidValue`."""

    code = "device-refused"


class WriteMismatch(DeviceError):
    """The device took the write but reports another value. `detail["observed"]` is what it reports."""

    code = "write-mismatch"


class AdapterFault(TwinGatewayError):
    """An adapter raised something that is not a DeviceError: a bug in the adapter."""

    code = "adapter-fault"


class UnknownAdapter(TwinGatewayError):
    """No installed package offers an adapter of this name."""

    code = "unknown-adapter"


# --- links and peers ------------------------------------------------------------------------------------------


class LinkError(TwinGatewayError):
    """A connection could not be made or did not last."""

    code = "link-error"


class NotAuthorized(LinkError):
    """A peer did not prove who it is, or is not allowed in."""

    code = "not-authorized"


class ProtocolViolation(LinkError):
    """A peer broke the protocol. `reason_code` is the MQTT 5 reason code that tells it so."""

    code = "protocol-violation"

    def __init__(self, message: str, reason_code: int = 0x82, **detail: Any) -> None:
        super().__init__(message, **detail)
        self.reason_code = reason_code


# --- store, certificates, plug-ins ----------------------------------------------------------------------------


class StoreError(TwinGatewayError):
    """The store could not do what was asked."""

    code = "store-error"


class StoreFull(StoreError):
    """No space left: new writes are refused, reads go on."""

    code = "store-full"


class StoreCorrupt(StoreError):
    """The file is damaged; nothing of it was served."""

    code = "store-corrupt"


class CertificateError(TwinGatewayError):
    """A certificate or key is missing, expired, foreign or malformed."""

    code = "certificate-error"


class BrokerError(TwinGatewayError):
    """The local broker could not be started or reached."""

    code = "broker-error"


class Unavailable(TwinGatewayError):
    """Not now: the node is starting, stopping or overloaded."""

    code = "unavailable"


def all_errors(base: type[TwinGatewayError] = TwinGatewayError) -> Iterator[type[TwinGatewayError]]:
    """The errors of this module, base first: what the faces' tables must cover. What others derive from one of them
    shares its code."""
    yield base
    for child in base.__subclasses__():
        if child.__module__ == __name__:
            yield from all_errors(child)


def all_codes() -> frozenset[str]:
    """Every stable code defined in this module."""
    return frozenset(error.code for error in all_errors())
