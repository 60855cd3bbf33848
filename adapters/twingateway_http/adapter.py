"""What HTTP devices share: the clients that hold their connections."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, Device, DevicePort
from twingateway_http.clients import Clients
from twingateway_http.driver import HttpDriver


class HttpAdapter(Adapter):
    def __init__(self, context: AdapterContext) -> None:
        self._context = context
        self._clients = Clients()

    def driver(self, device: Device, port: DevicePort) -> HttpDriver:
        return HttpDriver(device, port, self._context, self._clients)

    async def stop(self) -> None:
        await self._clients.close()
