"""Numbers instead of names, per link: given once, never reused, spelled out until the peer is known to have them."""

from __future__ import annotations

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.sync.frame import Names
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import RegisterKey, Section


class NameGiver:
    """The sender's side. `new_devices` and `new_fields` are the numbers that no seen frame has explained yet."""

    __slots__ = ("_devices", "_fields", "new_devices", "new_fields")

    def __init__(self) -> None:
        self._devices: dict[DeviceId, int] = {}
        self._fields: dict[tuple[Section, str], int] = {}
        self.new_devices: set[int] = set()
        self.new_fields: set[int] = set()

    def device(self, device: DeviceId) -> int:
        number = self._devices.get(device)
        if number is None:
            number = self._devices[device] = len(self._devices)
            self.new_devices.add(number)
        return number

    def field(self, section: Section, name: str) -> int:
        number = self._fields.get((section, name))
        if number is None:
            number = self._fields[(section, name)] = len(self._fields)
            self.new_fields.add(number)
        return number

    def seen(self, names: Names) -> None:
        """A frame with these names was seen."""
        self.new_devices.difference_update(names.devices)
        self.new_fields.difference_update(names.fields)

    def unknown(self, key: RegisterKey) -> None:
        """The peer does not know this key's numbers after all: they are spelled out again."""
        self.new_devices.add(self.device(key.device))
        self.new_fields.add(self.field(key.section, key.name))


class NameBook:
    """The receiver's side."""

    __slots__ = ("_devices", "_fields")

    def __init__(self) -> None:
        self._devices: dict[int, DeviceId] = {}
        self._fields: dict[int, tuple[Section, str]] = {}

    def check(self, names: Names) -> dict[int, DeviceId]:
        """The devices in `names`, parsed; changes nothing. Raises ProtocolViolation if a number means another."""
        devices = {number: _device(text) for number, text in names.devices.items()}
        if any(self._devices.get(number, device) != device for number, device in devices.items()) or any(
            self._fields.get(number, field) != field for number, field in names.fields.items()
        ):
            raise ProtocolViolation("a name's number was used again")
        return devices

    def learn(self, devices: dict[int, DeviceId], names: Names) -> None:
        self._devices.update(devices)
        self._fields.update(names.fields)

    def key(self, device: int, field: int) -> RegisterKey | None:
        """None if either number has no meaning here."""
        named, place = self._devices.get(device), self._fields.get(field)
        return None if named is None or place is None else RegisterKey(named, place[0], place[1])


def _device(text: str) -> DeviceId:
    try:
        device = DeviceId.parse(text)
    except InvalidValue as error:
        raise ProtocolViolation(f"not a device name: {error.message}") from error
    if str(device) != text:
        raise ProtocolViolation(f"{text!r} has no namespace")
    return device
