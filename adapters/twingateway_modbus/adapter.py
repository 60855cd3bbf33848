"""The connections of one node's Modbus devices: one link for each host and port."""

from __future__ import annotations

from collections import Counter

from twingateway.adapter import Adapter, Device, DevicePort, Driver
from twingateway_modbus.driver import ModbusDriver
from twingateway_modbus.link import Link
from twingateway_modbus.settings import AddressSettings


class ModbusAdapter(Adapter):
    """A link is closed with the last device on it."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, int], Link] = {}
        self._users: Counter[tuple[str, int]] = Counter()

    def driver(self, device: Device, port: DevicePort) -> Driver:
        address: AddressSettings = device.settings.address
        endpoint = (address.host, address.port)
        link = self._links.setdefault(endpoint, Link(*endpoint))
        self._users[endpoint] += 1
        return ModbusDriver(device, port, link, release=lambda: self._release(endpoint))

    def _release(self, endpoint: tuple[str, int]) -> None:
        self._users[endpoint] -= 1
        if self._users[endpoint] == 0:
            self._links.pop(endpoint).close()

    async def stop(self) -> None:
        for link in self._links.values():
            link.close()
