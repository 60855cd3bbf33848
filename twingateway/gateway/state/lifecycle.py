"""What a device's lifecycle register says beside who holds it: under which epochs others may speak of it."""

from __future__ import annotations

from twingateway.gateway.state.table import TwinTable
from twingateway.twin.identity import DeviceId
from twingateway.twin.kept import LIFECYCLE_NAME
from twingateway.twin.register import Register, Section
from twingateway.twin.value import Value

#: Member of a lifecycle register while its root, which was rolled back, has not asked the holder what it has:
#: nothing is written then, and nothing sent that could replace it there.
DOUBT = "doubt"
#: Member of a lifecycle register: the epoch that began when its device was moved to its holder.
TENURE = "tenure"


def lifecycle_of(table: TwinTable, device: DeviceId) -> dict[str, Value]:
    """The members of a device's lifecycle register, none without one."""
    value = table.value(device, Section.LIFECYCLE, LIFECYCLE_NAME)
    return value if isinstance(value, dict) else {}


def granted_epoch(lifecycle: Register) -> int:
    """The holder's epoch that a lifecycle register grants."""
    value = lifecycle.value
    epoch = value.get("epoch", 0) if isinstance(value, dict) else 0
    return epoch if isinstance(epoch, int) else 0


def tenure(lifecycle: Register) -> tuple[int, int]:
    """The incarnation and epoch with which the device came to its present holder: what that one said of it before,
    it said before another one held it."""
    since = lifecycle.value.get(TENURE) if isinstance(lifecycle.value, dict) else None
    return lifecycle.version.incarnation, since if isinstance(since, int) else 0
