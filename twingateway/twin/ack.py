"""The life of one desired value, as the holder tells it.

The value of an `ack` register is the JSON form of an `Ack`. Its transitions are one table; nothing else decides
whether a state may follow another.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from twingateway.twin.record import record
from twingateway.twin.register import Version
from twingateway.twin.value import Value


class AckState(StrEnum):
    PENDING = "pending"  # at the root, not yet at the holder
    DELIVERED = "delivered"  # durable at the holder, not (or not verifiably) at the device
    APPLIED = "applied"  # the device itself reported the value
    REJECTED = "rejected"  # refused by the model or the adapter; the device was not asked
    FAILED = "failed"  # the device refused it, or could not be brought to it
    EXPIRED = "expired"  # its time to live passed first
    SUPERSEDED = "superseded"  # a newer desired value took its place


FINAL = frozenset({AckState.APPLIED, AckState.REJECTED, AckState.FAILED, AckState.EXPIRED, AckState.SUPERSEDED})

#: Code of a value that is not at the device because a local override is.
OVERRIDDEN = "overridden"
#: Code of what was applied under an earlier grant of the device: it is to be asked whether it holds it still.
HANDED_OVER = "handed-over"

#: What may follow what, for one desired version. An applied one is delivered again when it was overridden since, or
#: when the device was handed over without it.
FOLLOWS: dict[AckState, frozenset[AckState]] = {
    AckState.PENDING: frozenset(AckState) - {AckState.PENDING},
    AckState.DELIVERED: frozenset(AckState) - {AckState.PENDING},
    **{state: frozenset() for state in FINAL},
    AckState.APPLIED: frozenset({AckState.DELIVERED}),
}


@record
class Ack:
    """How far one desired version has come.

    `code` is a stable word (`unconfirmed`, an error code, …), `message` a sentence for people, `observed` the value
    that the device reported when it was read back, `time` Unix milliseconds at the holder.
    """

    version: Version
    state: AckState
    code: str = ""
    message: str = ""
    observed: Value = None
    time: int = 0

    @property
    def settled(self) -> bool:
        """Nothing more will happen unless the device or a person acts: final, or delivered but unconfirmable."""
        return self.state in FINAL or (self.state is AckState.DELIVERED and self.code == "unconfirmed")

    @property
    def is_handed_over(self) -> bool:
        return self.state is AckState.APPLIED and self.code == HANDED_OVER

    def handed_over(self) -> Ack:
        """What it is worth when its device is granted anew, to this node or another."""
        if self.state is not AckState.APPLIED:
            return self
        return replace(self, code=HANDED_OVER, message="the device was not asked since it was handed over")

    def to_value(self) -> dict[str, Value]:
        document: dict[str, Value] = {
            "version": str(self.version),
            "state": self.state.value,
            "time": self.time,
        }
        optional: dict[str, Value] = {"code": self.code, "message": self.message, "observed": self.observed}
        document.update({name: value for name, value in optional.items() if value not in ("", None)})
        return document

    @classmethod
    def from_value(cls, value: Value) -> Ack:
        """The inverse of `to_value`; raises ValueError for anything else."""
        if not isinstance(value, dict):
            raise ValueError("an ack is an object")
        time = value.get("time", 0)
        return cls(
            version=Version.parse(str(value["version"])),
            state=AckState(str(value["state"])),
            code=str(value.get("code", "")),
            message=str(value.get("message", "")),
            observed=value.get("observed"),
            time=time if isinstance(time, int) else 0,
        )
