"""The kinds of values that node and device files are made of: addresses, URLs, sizes, names, paths."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from twingateway.adapter.duration import Duration as Duration
from twingateway.twin.identity import NAME_PATTERN


class Section(BaseModel):
    """Base of everything in a node or device file: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class HostPort(NamedTuple):
    """Where to listen: `host:port`, an IPv6 address in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


_HOST = r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+"
_HOST_PORT = re.compile(rf"({_HOST}):([0-9]{{1,5}})", re.ASCII)
_MAX_PORT = 65535


def parse_host_port(value: Any) -> HostPort:
    """`127.0.0.1:8080`, `localhost:8080`, `[::1]:8080` → HostPort; raises ValueError."""
    if isinstance(value, HostPort):
        return value
    match = _HOST_PORT.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > _MAX_PORT:
        raise ValueError(f"{value!r} is not an address; write host:port, for instance 127.0.0.1:8080")
    return HostPort(match[1].strip("[]"), int(match[2]))


class Url(NamedTuple):
    """A server to connect to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{HostPort(self.host, self.port)}"


_URL = re.compile(rf"([a-z]+)://({_HOST})(?::([0-9]{{1,5}}))?/?", re.ASCII)


def _url_parser(scheme: str, default_port: int, **further: int) -> PlainValidator:
    """`further`: other schemes and their ports."""
    ports = {scheme: default_port, **further}

    def parse(value: Any) -> Url:
        if isinstance(value, Url):
            return value
        match = _URL.fullmatch(value) if isinstance(value, str) else None
        port = int(match[3] or ports.get(match[1], 0)) if match else 0
        if match is None or match[1] not in ports or not 0 < port <= _MAX_PORT:
            raise ValueError(f"{value!r} is not of the form {scheme}://host or {scheme}://host:{default_port}")
        return Url(match[1], match[2].strip("[]"), port)

    return PlainValidator(parse)


def _text_schema(example: str, pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Address = Annotated[
    HostPort,
    PlainValidator(parse_host_port),
    PlainSerializer(str),
    _text_schema("127.0.0.1:8080", f"^(?:{_HOST}):[0-9]{{1,5}}$"),
]
ParentUrl = Annotated[
    Url,
    _url_parser("quic", 14567, mqtts=8883),
    PlainSerializer(str),
    _text_schema("quic://cloud.example:14567", f"^(?:quic|mqtts)://(?:{_HOST})(?::[0-9]{{1,5}})?/?$"),
]
MqttUrl = Annotated[
    Url,
    _url_parser("mqtt", 1883),
    PlainSerializer(str),
    _text_schema("mqtt://broker.example:1883", f"^mqtt://(?:{_HOST})(?::[0-9]{{1,5}})?/?$"),
]

#: Bytes in each unit of a size.
SIZE_UNITS: dict[str, int] = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(rf"([0-9]+)\s*({'|'.join(SIZE_UNITS)})", re.ASCII)


def parse_size(value: Any) -> int:
    """`"64KiB"` → 65536; a whole number is bytes already. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{value!r} is not a size; write a whole number and a unit: 512B, 64KiB, 1MiB")
    return int(match[1]) * SIZE_UNITS[match[2]]


Size = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": rf"^[0-9]+\s*(?:{'|'.join(SIZE_UNITS)})$"},
                {"type": "integer", "minimum": 1},
            ],
            "description": "A size such as 512B, 64KiB or 1MiB; a plain number is bytes.",
        }
    ),
]


def _name(text: str) -> str:
    if re.fullmatch(NAME_PATTERN, text) is None:
        rule = "letters, digits, '.', '_' and '-' (at most 128), beginning with a letter or digit"
        raise ValueError(f"{text!r} is not a name: {rule}")
    return text


#: The name of a node, device or namespace.
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"})]


def _beside(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path


#: A path; a relative one counts from the folder of the file it is written in.
FilePath = Annotated[Path, AfterValidator(_beside)]
