"""What a disk says of writes: that one was asked for, and that one was carried out."""

from __future__ import annotations

from tests.simulation.tenures import Grant
from tests.simulation.writes import ANYBODY, HOLDER, Key, Write
from twingateway.gateway.holding.claims import fields, lifecycle_key
from twingateway.gateway.state.lifecycle import granted_epoch, tenure
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.ack import OVERRIDDEN
from twingateway.twin.desired import plain
from twingateway.twin.identity import DeviceId
from twingateway.twin.override import Override
from twingateway.twin.register import Register, RegisterKey, Section
from twingateway.twin.value import Value

LABEL = "room"


def has_trace(disk: MemoryDisk, write: Write) -> bool:
    """Whether there is a trace of this write on a disk."""
    device, name = write.key
    identity = DeviceId("default", device)
    if write.grant is not None:
        stored = disk.registers.get(lifecycle_key(identity))
        return stored is not None and _decides(stored.register, write, write.grant)
    section = Section.TAGS if name == LABEL else Section.DESIRED
    stored = disk.registers.get(RegisterKey(identity, section, name))
    return stored is not None and plain(stored.register.value) == write.value


def _decides(lifecycle: Register, write: Write, grant: Grant) -> bool:
    """Whether a lifecycle register comes of this creation, deletion or move, or of a later one."""
    incarnation, is_over = lifecycle.version.incarnation, fields(lifecycle)["state"] == "deleted"
    if write.key[1] != HOLDER or write.value == ANYBODY:
        gone_upto = incarnation if is_over else incarnation - 1
        return gone_upto >= grant[0] if grant[1] else incarnation >= grant[0]
    known = (incarnation, is_over, granted_epoch(lifecycle))
    is_later = known >= (grant[0], False, grant[1]) and lifecycle.version >= write.version
    # A root that was put back may have granted it anew to who had it before the move.
    is_by_it = fields(lifecycle).get("holder") == write.value or tenure(lifecycle) >= grant
    return is_later and (is_over or is_by_it)


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
