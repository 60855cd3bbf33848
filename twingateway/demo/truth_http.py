"""What the demo's HTTP devices really hold, read with `http.client` and `json` alone.

This shares no code with the adapter or its library, so that a fault in those cannot hide itself: the paths, the
members and the credentials are written down here a second time.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

#: Seconds to wait for one answer.
_TIMEOUT = 5.0

_CHARGER = "Bearer charger-demo"
_HEAT_PUMP = "Basic aW5zdGFsbGVyOmRlbW8="

#: Device → property → path, members on the way to the value, factor.
_MAP: dict[str, tuple[str, dict[str, tuple[str, tuple[str | int, ...], int]]]] = {
    "charger": (
        _CHARGER,
        {
            "state": ("/charger/status", ("state",), 1),
            "power": ("/charger/status", ("meter", "power_w"), 1),
            "currentL1": ("/charger/status", ("meter", "current_a", 0), 1),
            "currentL2": ("/charger/status", ("meter", "current_a", 1), 1),
            "currentL3": ("/charger/status", ("meter", "current_a", 2), 1),
            "energy": ("/charger/status", ("meter", "energy_wh"), 1),
            "temperature": ("/charger/status", ("temperature_c",), 1),
            "limit": ("/charger/settings", ("limit_a",), 1),
            "enabled": ("/charger/settings", ("enabled",), 1),
        },
    ),
    "heatpump": (
        _HEAT_PUMP,
        {
            "tankTemperature": ("/heatpump", ("tank_c",), 1),
            "flowTemperature": ("/heatpump", ("flow_c",), 1),
            "outsideTemperature": ("/heatpump", ("outside_c",), 1),
            "compressor": ("/heatpump", ("compressor", "on"), 1),
            "speed": ("/heatpump", ("compressor", "speed"), 1),
            "power": ("/heatpump", ("power_kw",), 1000),
            "setpoint": ("/heatpump", ("setpoint_c",), 1),
            "mode": ("/heatpump", ("mode",), 1),
        },
    ),
    "weather": (
        "",
        {
            "temperature": ("/weather", ("temperature_c",), 1),
            "humidity": ("/weather", ("humidity",), 1),
            "pressure": ("/weather", ("pressure_hpa",), 1),
            "windSpeed": ("/weather", ("wind", "speed_ms"), 1),
            "windDirection": ("/weather", ("wind", "direction"), 1),
            "rain": ("/weather", ("rain_mm",), 1),
        },
    ),
}


def read_truth(port: int) -> dict[str, dict[str, bool | int | float | str]]:
    """Every property of every device of the site on 127.0.0.1:`port`, over a connection of its own: device → property
    → value. Raises OSError, http.client.HTTPException, ValueError or LookupError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    truth: dict[str, dict[str, bool | int | float | str]] = {}
    try:
        for device, (authorization, properties) in _MAP.items():
            paths = {path for path, _, _ in properties.values()}
            documents = {path: _fetch(connection, path, authorization) for path in paths}
            truth[device] = {
                name: _value(documents[path], members, factor) for name, (path, members, factor) in properties.items()
            }
    finally:
        connection.close()
    return truth


def _fetch(connection: http.client.HTTPConnection, path: str, authorization: str) -> Any:
    headers = {"X-Truth": "1"} | ({"Authorization": authorization} if authorization else {})
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise ValueError(f"GET {path} was answered {answer.status}: {body[:100]!r}")
    return json.loads(body)


def _value(document: Any, members: tuple[str | int, ...], factor: int) -> bool | int | float | str:
    for member in members:
        document = document[member]
    return document if factor == 1 else round(document * factor, 6)  # type: ignore[no-any-return]
