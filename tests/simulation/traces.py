"""What a disk says of writes: that one was asked for, and that one was carried out."""

from __future__ import annotations

from tests.simulation.writes import ANYBODY, HOLDER, Key, Write
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.lifecycle import granted_epoch
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.ack import OVERRIDDEN
from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override
from twingateway.twin.register import RegisterKey, Section
from twingateway.twin.value import Value

LABEL = "room"


def has_trace(disk: MemoryDisk, write: Write) -> bool:
    """Whether there is a trace of this write on a disk."""
    device, name = write.key
    identity = DeviceId("default", device)
    if write.grant is not None:
        lifecycle = disk.registers.get(lifecycle_key(identity))
        if lifecycle is None:
            return False
        incarnation, ended = lifecycle.register.version.incarnation, fields(lifecycle.register)["state"] == "deleted"
        if write.key[1] == HOLDER and write.value != ANYBODY:
            known = (incarnation, ended, granted_epoch(lifecycle.register))
            return known >= (write.grant[0], False, write.grant[1]) and lifecycle.register.version >= write.version
        gone_upto = incarnation if ended else incarnation - 1
        return gone_upto >= write.grant[0] if write.grant[1] else incarnation >= write.grant[0]
    section = Section.TAGS if name == LABEL else Section.DESIRED
    stored = disk.registers.get(RegisterKey(identity, section, name))
    return stored is not None and plain(stored.register.value) == write.value


def says_written(disk: MemoryDisk, key: Key, value: Value, over: int) -> bool:
    """Whether a disk says that this value was written to the device last, or may have been, and knows of the override
    `over` or a later one, if it is not 0."""
    device, name = DeviceId("default", key[0]), key[1]
    said = (Section.DESIRED, Section.ACK, Section.OVERRIDE)
    registers = {s: disk.registers.get(RegisterKey(device, s, name)) for s in said}
    desired, ack, override = registers.values()
    told = {} if ack is None or not isinstance(ack.register.value, dict) else ack.register.value
    attempt = disk.attempts.get(RegisterKey(device, Section.DESIRED, name))
    if desired is not None and plain(desired.register.value) == value and attempt is not None:
        return attempt.version == desired.register.version and told.get("code") != OVERRIDDEN
    held = None if override is None else Override.read(override.register.value)
    if over and not (held is not None and isinstance(held.value, int) and held.value >= over):
        return False
    return told.get("observed") == value or (held is not None and held.value == value and held.attempted)
