"""Device and profile files, read for the tools. The only place here that knows the node's configuration layer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twingateway.adapter import DeviceId
from twingateway.config.device import load_devices, settings_of_profile
from twingateway.errors import InvalidConfig
from twingateway.plugins.registry import AdapterRegistry
from twingateway_modbus.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class NamedSettings:
    """One device, or one type of device at a made-up address. `tests`: a profile's vectors as they are written."""

    id: DeviceId
    settings: DeviceSettings
    tests: tuple[Mapping[str, Any], ...] = ()


def read_profile(path: Path, address: Mapping[str, Any]) -> NamedSettings:
    """The profile of a file, as a device at `address` has it. Raises InvalidConfig."""
    loaded = settings_of_profile(path, {"address": dict(address)}, AdapterRegistry.installed(), os.environ)
    if loaded.device.adapter != "modbus":
        raise InvalidConfig(f"{path} is a profile for the adapter {loaded.device.adapter!r}, not for modbus")
    return NamedSettings(loaded.device.id, loaded.device.settings, loaded.tests)


def read_any(path: Path, address: Mapping[str, Any]) -> list[NamedSettings]:
    """The Modbus devices of a file, or its profile's settings at `address`. Raises InvalidConfig."""
    devices = load_devices([path], AdapterRegistry.installed())
    if not devices:
        return [read_profile(path, address)]
    found = [NamedSettings(device.id, device.settings) for device in devices if device.adapter == "modbus"]
    if not found:
        raise InvalidConfig(f"{path} holds no Modbus device")
    return found
