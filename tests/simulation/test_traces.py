"""What a disk says of a move."""

from __future__ import annotations

import pytest

from tests.simulation.traces import has_trace
from tests.simulation.writes import HOLDER, Write
from twingateway.gateway.holding.claims import lifecycle_key
from twingateway.ports.memory_store import MemoryDisk
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, StoredRegister, Version

MOVE = Write(("cart", HOLDER), "edge-b", 1.0, grant=(1, 2), version=Version(1, 1, 30))


def disk_with(version: Version, **value: str | int) -> MemoryDisk:
    disk = MemoryDisk()
    register = Register(lifecycle_key(DeviceId("default", "cart")), version, {"state": "live", **value}, 0)
    disk.registers[register.key] = StoredRegister(register, 1)
    return disk


@pytest.mark.parametrize(
    ("version", "holder", "epoch", "tenure", "is_known"),
    [
        (Version(1, 1, 3), "edge-a", 1, 0, False),  # from before it
        (Version(1, 1, 30), "edge-b", 2, 2, True),
        (Version(1, 1, 40), "edge-b", 3, 2, True),
        (Version(1, 1, 50), "edge-a", 4, 4, True),  # moved back since
        (Version(1, 1, 99), "edge-a", 2, 0, False),  # granted anew by a root that was put back to before it
        (Version(2, 1, 60), "edge-a", 1, 0, True),  # deleted and created anew since
    ],
)
def test_a_lifecycle_register_is_a_trace_of_a_move_if_it_came_of_it_or_of_what_was_later(
    version: Version, holder: str, epoch: int, tenure: int, is_known: bool
) -> None:
    assert has_trace(disk_with(version, holder=holder, epoch=epoch, tenure=tenure), MOVE) is is_known


def test_so_is_a_later_deletion() -> None:
    assert has_trace(disk_with(Version(1, 1, 31), state="deleted", holder="edge-a", epoch=2), MOVE)
