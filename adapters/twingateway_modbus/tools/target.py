"""An endpoint as people type it: `10.0.0.5`, `plc:1502`, `udp://plc:502`, `rtu-over-tcp://gw:4001`, `/dev/ttyUSB0`,
`ascii:///dev/ttyS1`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from twingateway.errors import InvalidConfig
from twingateway_modbus.address import AddressSettings, Transport


def address_of(
    target: str, *, unit: int = 1, timeout: float = 1.0, delay: float = 0.0, **serial: Any
) -> AddressSettings:
    """`serial`: settings of the line (baud, parity …). Raises InvalidConfig."""
    address: dict[str, Any] = {"unit": unit, "timeout": timeout, "delay": delay}
    scheme, has_scheme, rest = target.partition("://")
    if target.startswith("/") or rest.startswith("/"):
        transport = scheme if has_scheme else Transport.RTU
        address |= {"transport": transport, "serial": {"port": rest or target, **serial}}
    else:
        parts = urlsplit(target if has_scheme else f"tcp://{target}")
        try:
            address |= {"transport": parts.scheme, "host": parts.hostname, "port": parts.port}
        except ValueError as error:
            raise InvalidConfig(f"{target!r} is not an endpoint: {error}") from error
    try:
        return AddressSettings.model_validate(address)
    except ValidationError as error:
        reasons = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise InvalidConfig(f"{target!r} is not an endpoint: {reasons}") from error
