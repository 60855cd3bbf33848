"""Modbus devices. Importing this loads the settings only; pymodbus comes with the first connection."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, AdapterKind
from twingateway_modbus.settings import DeviceSettings, ModbusSettings


def _open(settings: ModbusSettings, context: AdapterContext) -> Adapter:
    from twingateway_modbus.adapter import ModbusAdapter

    return ModbusAdapter()


ADAPTER = AdapterKind(
    name="modbus",
    summary="Modbus devices over TCP: registers and coils, joined reads, writes confirmed by reading back",
    settings=ModbusSettings,
    device=DeviceSettings,
    open=_open,
)
