"""Modbus devices. Importing this loads the settings only."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, AdapterKind
from twingateway_modbus.settings import DeviceSettings, ModbusSettings


def _open(settings: ModbusSettings, context: AdapterContext) -> Adapter:
    from twingateway_modbus.adapter import ModbusAdapter

    return ModbusAdapter(context.data_dir, settings)


ADAPTER = AdapterKind(
    name="modbus",
    summary="Modbus devices over TCP, TLS, UDP, RTU and ASCII: registers and coils, joined reads, confirmed writes",
    settings=ModbusSettings,
    device=DeviceSettings,
    open=_open,
)
