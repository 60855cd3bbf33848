"""HTTP devices. Importing this loads the settings only; httpx2 and jmespath come with the first device."""

from __future__ import annotations

from twingateway.adapter import Adapter, AdapterContext, AdapterKind
from twingateway_http.settings import DeviceSettings, HttpSettings


def _open(settings: HttpSettings, context: AdapterContext) -> Adapter:
    from twingateway_http.adapter import HttpAdapter

    return HttpAdapter(context)


ADAPTER = AdapterKind(
    name="http",
    summary="Devices with a JSON API over HTTP: polled with ETag, pushed by webhooks, writes confirmed by a GET",
    settings=HttpSettings,
    device=DeviceSettings,
    open=_open,
)
