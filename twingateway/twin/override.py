"""What an `override` register holds: a desired value that an operator set at the edge, and how far it has come there.

The holder writes it, one per property, the newest. It is committed before it takes effect, so that it outlives a
crash; it travels up like any register, so that everybody can see who overrode what; the root judges it once, by its
id (`twin.conflict`), and answers with a `verdict` register.

Overrides that follow each other while none of them was settled are of one *line*: the later one replaces the earlier,
and one that was accepted is no reason against the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from twingateway.twin.ack import Ack
from twingateway.twin.record import record
from twingateway.twin.register import ZERO, Register, Version
from twingateway.twin.value import Value

#: How many of those before it an override names.
MOST_BEFORE = 8


class OverrideId(NamedTuple):
    """`line` is random enough to be nobody else's; `number` is 1 for the first of it, for any other one that
    its node's store issues only once, also if it is put back to an older copy."""

    line: str
    number: int

    def __str__(self) -> str:
        return f"{self.line}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> OverrideId:
        """The inverse of `str`; raises ValueError."""
        line, dot, number = text.rpartition(".")
        if not (line and dot):
            raise ValueError(f"{text!r} is not the id of an override")
        return cls(line, int(number))


@record
class Override:
    """`base`: the desired version that was known where it was set, ZERO if nothing was desired there. `time`: Unix
    milliseconds there. `attempted`: it may have reached the device. `ack`: how far it has come (its version is
    `base`). `withdrawn`: who took it back. `said`: the version from which on its operator set it, or took it back;
    of two overrides of a property the one with the greater is the later, however far each has come since. ZERO of one
    that an earlier release made. `after`: the same of those that were there before it, the newest first: by these two
    can be compared of which numbers tell nothing, since a store was put back in between."""

    id: OverrideId
    value: Value
    actor: str
    node: str
    base: Version
    time: int
    attempted: bool = False
    ack: Ack | None = None
    withdrawn: str | None = None
    said: Version = ZERO
    after: tuple[Version, ...] = ()

    def with_ack(self, ack: Ack) -> Override:
        return replace(self, ack=replace(ack, version=self.base))

    def to_value(self) -> dict[str, Value]:
        document: dict[str, Value] = {
            "id": str(self.id),
            "value": self.value,
            "actor": self.actor,
            "node": self.node,
            "base": str(self.base),
            "time": self.time,
        }
        if self.attempted:
            document["attempted"] = True
        if self.ack is not None:
            document["ack"] = self.ack.to_value()
        if self.withdrawn is not None:
            document["withdrawn"] = self.withdrawn
        if self.said != ZERO:
            document["said"] = str(self.said)
        if self.after:
            document["after"] = [str(version) for version in self.after]
        return document

    @property
    def so_far(self) -> tuple[Version, ...]:
        """`after`, of one that takes its place."""
        return (self.said, *self.after)[:MOST_BEFORE]

    @classmethod
    def read(cls, value: Value) -> Override | None:
        """The inverse of `to_value`; None for anything else."""
        try:
            return cls._from_value(value)
        except (ValueError, KeyError):
            return None

    @classmethod
    def _from_value(cls, value: Value) -> Override:
        if not isinstance(value, dict) or value.get("value") is None:
            raise ValueError("an override is an object with a value")
        time, ack, withdrawn = value["time"], value.get("ack"), value.get("withdrawn")
        after = value.get("after")
        return cls(
            id=OverrideId.parse(str(value["id"])),
            value=value["value"],
            actor=str(value["actor"]),
            node=str(value["node"]),
            base=Version.parse(str(value["base"])),
            time=time if isinstance(time, int) else 0,
            attempted=value.get("attempted") is True,
            ack=None if ack is None else Ack.from_value(ack),
            withdrawn=None if withdrawn is None else str(withdrawn),
            said=Version.parse(str(value.get("said", ZERO))),
            after=tuple(Version.parse(str(version)) for version in after) if isinstance(after, list) else (),
        )


def said_at(register: Register) -> Version:
    """When the operator set, or withdrew, the override that an override register holds."""
    override = Override.read(register.value)
    return register.version if override is None or override.said == ZERO else override.said
