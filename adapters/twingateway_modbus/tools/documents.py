"""Device and profile files, read for the tools. The only place here that knows the node's configuration layer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twingateway.adapter import Device, DeviceId, Model
from twingateway.config.device import KIND, LoadedDevice, load_devices, settings_of_profile
from twingateway.config.instances import PROFILE_KIND
from twingateway.config.load import read_models
from twingateway.config.source import load_file
from twingateway.errors import InvalidConfig, InvalidDocument
from twingateway.plugins.registry import AdapterRegistry
from twingateway_modbus.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class NamedSettings:
    """One device, or one type of device at a made-up address. `model`: the one in its profile's file. `tests`: a
    profile's vectors as they are written."""

    id: DeviceId
    settings: DeviceSettings
    model: Model | None = None
    tests: tuple[Mapping[str, Any], ...] = ()

    @property
    def device(self) -> Device:
        return Device(self.id, self.settings, self.model)


def read_profile(path: Path, address: Mapping[str, Any]) -> NamedSettings:
    """The profile of a file, as a device at `address` has it. Raises InvalidConfig."""
    loaded = settings_of_profile(path, {"address": dict(address)}, AdapterRegistry.installed(), os.environ)
    if loaded.device.adapter != "modbus":
        raise InvalidConfig(f"{path} is a profile for the adapter {loaded.device.adapter!r}, not for modbus")
    named = _named(loaded.device, _models_beside([loaded.device]), loaded.tests)
    base = loaded.device.source.base
    return named if base is None else replace(named, id=DeviceId(named.id.namespace, base.data["metadata"]["name"]))


def read_any(path: Path, address: Mapping[str, Any]) -> list[NamedSettings]:
    """The Modbus devices of a file, or its profile's settings at `address`. Raises InvalidConfig."""
    if _is_profile(path):
        return [read_profile(path, address)]
    devices = load_devices([path], AdapterRegistry.installed())
    ours = [device for device in devices if device.adapter == "modbus"]
    if not ours:
        raise InvalidConfig(f"{path} holds no Modbus device")
    models = _models_beside(ours)
    return [_named(device, models) for device in ours]


def _is_profile(path: Path) -> bool:
    """Whether the file is a profile's, with its model beside it or not."""
    try:
        sources = load_file(path)
    except InvalidDocument as error:
        raise InvalidConfig(error.message, error.problems) from error
    kinds = {source.data.get("kind") for source in sources if isinstance(source.data, dict)}
    return PROFILE_KIND in kinds and KIND not in kinds


def _named(
    device: LoadedDevice, models: Mapping[str, Model], tests: tuple[Mapping[str, Any], ...] = ()
) -> NamedSettings:
    return NamedSettings(device.id, device.settings, models.get(str(device.model_ref)), tests)


def _models_beside(devices: Iterable[LoadedDevice]) -> Mapping[str, Model]:
    """The models in the files of the devices' profiles, by reference."""
    models, problems = read_models({device.source.base.file for device in devices if device.source.base is not None})
    if problems:
        raise InvalidConfig(str(problems[0]), problems)
    return {str(model.ref): model for model in models}
