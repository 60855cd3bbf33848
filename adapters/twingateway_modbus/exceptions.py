"""What Modbus exception codes mean, in words and in our errors."""

from __future__ import annotations

from twingateway.errors import DeviceError, DeviceRefused, DeviceTimeout, DeviceUnreachable

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3

#: By these a device refuses a whole request because of one address in it.
REFUSING_AN_ADDRESS = frozenset({ILLEGAL_ADDRESS, ILLEGAL_VALUE})

#: A gateway says that nobody is behind it.
GATEWAY = (10, 11)

#: Code → meaning and error. Busy and the gateway's codes pass, so they are errors that may be tried again. A device
#: that fails while it carries out what it was asked has not refused it.
EXCEPTIONS: dict[int, tuple[str, type[DeviceError]]] = {
    ILLEGAL_FUNCTION: ("illegal function", DeviceRefused),
    ILLEGAL_ADDRESS: ("illegal data address", DeviceRefused),
    ILLEGAL_VALUE: ("illegal data value", DeviceRefused),
    4: ("device failure", DeviceError),
    5: ("acknowledged, still working", DeviceTimeout),
    6: ("device busy", DeviceTimeout),
    7: ("negative acknowledge", DeviceRefused),
    8: ("memory parity error", DeviceError),
    10: ("gateway path unavailable", DeviceUnreachable),
    11: ("gateway target failed to respond", DeviceUnreachable),
}


def exception_error(code: int, doing: str) -> DeviceError:
    """The error for exception `code` while `doing` (“reading 4 input registers at 10”)."""
    meaning, error = EXCEPTIONS.get(code, ("exception of the vendor", DeviceRefused))
    return error(f"{meaning} ({code}) {doing}", exception=code)
