"""The connections of one node's Modbus devices: one link for each endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from twingateway.adapter import Adapter, Device, DevicePort, Driver, Figure
from twingateway.errors import InvalidConfig
from twingateway_modbus.address import AddressSettings
from twingateway_modbus.broadcast import BroadcastDriver
from twingateway_modbus.driver import ModbusDriver
from twingateway_modbus.gate import Gate
from twingateway_modbus.learned import Learned
from twingateway_modbus.link import Link
from twingateway_modbus.reporting import ReportingSettings
from twingateway_modbus.schedule import phases
from twingateway_modbus.settings import DeviceSettings


class ModbusAdapter(Adapter):
    """A link is closed with the last device on it. What devices taught is kept in `data_dir`, if there is one."""

    def __init__(self, data_dir: Path | None = None, reporting: ReportingSettings | None = None) -> None:
        """`reporting`: what counts for devices that say nothing themselves."""
        self._data_dir = data_dir
        self._reporting = reporting
        self._links: dict[str, Link] = {}
        self._users: Counter[str] = Counter()
        self._gate = Gate()
        self._phases = phases()
        self._phase_of: dict[tuple[str, int], float] = {}
        """Devices of one unit are polled at the same time, so that they can be read together."""

    def driver(self, device: Device, port: DevicePort) -> Driver:
        settings: DeviceSettings = device.settings
        if device.model is None and settings.needs_model:
            raise InvalidConfig(f"{', '.join(settings.needs_model)}: the model that gives the names is not here")
        address = settings.address
        points = settings.points(device.model, self._reporting)
        link = self.link(address)
        endpoint = address.endpoint
        if address.is_everybody(address.unit):
            self._users[endpoint] += 1
            return BroadcastDriver(device, points, port, link, lambda: self._release(endpoint))
        unit = endpoint, address.unit
        if unit not in self._phase_of:
            self._phase_of[unit] = next(self._phases)
        learned, phase = self._learned(str(device.id), address.unit, endpoint), self._phase_of[unit]
        driver = ModbusDriver(device, points, port, link, learned, lambda: self._release(endpoint), self._gate, phase)
        self._users[endpoint] += 1
        return driver

    def link(self, address: AddressSettings) -> Link:
        """The link to the endpoint of `address`. Raises InvalidConfig if its other devices have it otherwise."""
        endpoint = address.endpoint
        if endpoint not in self._links:
            self._links[endpoint] = Link(address, lambda unit: self._learned("", unit, endpoint))
        link = self._links[endpoint]
        theirs, ours = link.address, address.link_settings
        if theirs != ours:
            differing = [key for key in type(ours).model_fields if getattr(theirs, key) != getattr(ours, key)]
            raise InvalidConfig(f"devices at {endpoint} disagree about {', '.join(differing)} of the address")
        return link

    def _learned(self, device: str, unit: int, endpoint: str) -> Learned:
        """What is known of a unit by one device, or (an empty name) by all that read it together."""
        about = f"unit {unit} at {endpoint}"
        if self._data_dir is None:
            return Learned(None, about)
        return Learned(self._data_dir / f"{quote(device or about, safe='')}.json", about)

    def _release(self, endpoint: str) -> None:
        self._users[endpoint] -= 1
        if self._users[endpoint] == 0:
            self._links.pop(endpoint).close()

    def figures(self) -> Iterator[Figure]:
        for link in self._links.values():
            yield from link.figures()

    async def stop(self) -> None:
        for link in self._links.values():
            link.close()
