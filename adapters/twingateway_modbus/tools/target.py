"""An endpoint as people type it: `10.0.0.5`, `plc:1502`, `udp://plc:502`, `rtu-over-tcp://gw:4001`, `/dev/ttyUSB0`,
`ascii:///dev/ttyS1`. What else a line or TLS needs follows as a query: `/dev/ttyUSB0?baud=9600&echo=true`,
`tls://plc?ca_file=ca.pem&certificate_file=me.pem&key_file=me.key`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from twingateway.errors import InvalidConfig
from twingateway_modbus.address import AddressSettings, Transport


def address_of(
    target: str, *, unit: int = 1, timeout: float = 1.0, delay: float = 0.0, **serial: Any
) -> AddressSettings:
    """`serial`: settings of the line (baud, parity …), unless the target says them. Raises InvalidConfig."""
    address: dict[str, Any] = {"unit": unit, "timeout": timeout, "delay": delay}
    where, _, query = target.partition("?")
    said = {key: _plain(value) for key, value in parse_qsl(query)}
    scheme, has_scheme, rest = where.partition("://")
    if where.startswith("/") or rest.startswith("/"):
        transport = scheme if has_scheme else Transport.RTU
        address |= {"transport": transport, "serial": {"port": rest or where, **serial, **said}}
    else:
        parts = urlsplit(where if has_scheme else f"tcp://{where}")
        try:
            address |= {"transport": parts.scheme, "host": parts.hostname, "port": parts.port}
        except ValueError as error:
            raise InvalidConfig(f"{target!r} is not an endpoint: {error}") from error
        if said and parts.scheme != Transport.TLS:
            raise InvalidConfig(f"{target!r} is not an endpoint: only a serial line and tls take settings behind a ?")
        if said:
            address["tls"] = said
    try:
        return AddressSettings.model_validate(address)
    except ValidationError as error:
        raise InvalidConfig(f"{target!r} is not an endpoint: {'; '.join(map(_reason, error.errors()))}") from error


def _plain(text: str) -> int | bool | str:
    """A number, true or false where it is one."""
    if text.isdecimal():
        return int(text)
    return text == "true" if text in ("true", "false") else text


def _reason(error: Any) -> str:
    about = f"{error['loc'][-1]}: " if error["loc"] else ""
    return about + str(error["msg"]).removeprefix("Value error, ")
