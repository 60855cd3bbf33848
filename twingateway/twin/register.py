"""The unit of replication: one top-level property of one section of one twin.

A register is written by the one writer of its section and carried unchanged through every node. Its version alone
decides: apply iff greater. `time` is for people and never decides anything.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from twingateway.twin.identity import DeviceId
from twingateway.twin.record import record
from twingateway.twin.value import Value


class Section(StrEnum):
    """The parts of a twin, each with one writer (see `WRITER`)."""

    REPORTED = "reported"
    ACK = "ack"
    PRESENCE = "presence"
    OVERRIDE = "override"
    DESIRED = "desired"
    TAGS = "tags"
    VERDICT = "verdict"
    LIFECYCLE = "lifecycle"
    REACH = "reach"


class Writer(Enum):
    """Who mints the versions of a section."""

    HOLDER = "holder"  # the node whose adapter runs the device
    ROOT = "root"  # the cloud
    PARENT = "parent"  # of a node: whoever holds its session


WRITER: dict[Section, Writer] = {
    Section.REPORTED: Writer.HOLDER,
    Section.ACK: Writer.HOLDER,
    Section.PRESENCE: Writer.HOLDER,
    Section.OVERRIDE: Writer.HOLDER,
    Section.DESIRED: Writer.ROOT,
    Section.TAGS: Writer.ROOT,
    Section.VERDICT: Writer.ROOT,
    Section.LIFECYCLE: Writer.ROOT,
    Section.REACH: Writer.PARENT,
}


class Version(NamedTuple):
    """`(incarnation, epoch, seq)`, compared lexicographically.

    incarnation: grows when a device is deleted and created again.
    epoch: fencing token; the root grants a holder its epoch, and its own epoch grows when its store is rolled back.
    seq: the minting store's counter; never issued twice.
    """

    incarnation: int
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.epoch}.{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """The inverse of `str`; raises ValueError."""
        incarnation, epoch, seq = map(int, text.split("."))
        return cls(incarnation, epoch, seq)


ZERO = Version(0, 0, 0)


class RegisterKey(NamedTuple):
    device: DeviceId
    section: Section
    name: str

    def __str__(self) -> str:
        return f"{self.device}/{self.section}/{self.name}"


@record
class Register:
    """One versioned value. `value is None` is a tombstone; `time` is Unix milliseconds at its writer."""

    key: RegisterKey
    version: Version
    value: Value
    time: int


@record
class StoredRegister:
    """A register and the lsn that this store gave it when it created or applied it."""

    register: Register
    lsn: int
