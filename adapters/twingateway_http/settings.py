"""What an HTTP device document and the node's `adapters: http:` section may say."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, model_validator

from twingateway.adapter import Duration, Secret, SecretFiles, check_jmespath

#: What stands for a desired value in a command.
VALUE = "$value"
#: The request that a property is picked from unless it names another.
DEFAULT_REQUEST = "status"

_NAME = re.compile(r"\{([^{}]*)\}")
_NAMES = frozenset({"device", "namespace"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Headers that belong to the exchange itself.
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})


def _check_names(template: str) -> str:
    unknown = sorted(set(_NAME.findall(template)) - _NAMES)
    if unknown:
        raise ValueError(f"{{{unknown[0]}}} means nothing here; use {{device}} or {{namespace}}")
    if any(character.isspace() or not character.isprintable() for character in template):
        raise ValueError("an address holds no spaces or control characters; write %20 for a space")
    return template


def _check_url(url: str) -> str:
    parts = urlsplit(_check_names(url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with http:// or https:// and a host")
    if parts.username is not None:
        raise ValueError("a name and password in the address would be shown; write them under auth")
    if parts.query or parts.fragment:
        raise ValueError("an address ends before ? and #; a request's path may have a query")
    _ = parts.port  # raises ValueError when it is none
    return url


def _check_path(path: str) -> str:
    if path and not path.startswith(("/", "?")):
        raise ValueError("a path begins with / (it is put behind the address), or with ? for a query alone")
    if "#" in path:
        raise ValueError("a path holds no #; write %23")
    return _check_names(path)


Path_ = Annotated[
    str,
    AfterValidator(_check_path),
    Field(description="Put behind address.url; {device} and {namespace} are replaced.", examples=["/status"]),
]
Pick = Annotated[
    str,
    AfterValidator(check_jmespath),
    Field(description="JMESPath expression.", examples=["meter.power_w", "sensors[0].value", "state == 'on'"]),
]
TimePick = Annotated[
    str,
    AfterValidator(check_jmespath),
    Field(description="JMESPath of the device's own time: Unix milliseconds or seconds, or ISO 8601."),
]
_Period = Annotated[Duration, Field(ge=0.05, le=86400)]
_Factor = Annotated[Decimal, Field(allow_inf_nan=False, ge=Decimal("-1e9"), le=Decimal("1e9"), decimal_places=12)]
_Band = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HttpSettings(_Strict):
    """HTTP needs nothing beyond its devices: write `http: {}`."""


class AuthSettings(_Strict, SecretFiles):
    """A bearer token, or a name and password for basic authentication."""

    bearer: Secret | None = None
    bearer_file: Path | None = None
    username: str | None = Field(None, pattern=r"^[^:\x00-\x1f]+$")
    password: Secret | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.bearer is None) is (self.username is None):
            raise ValueError("give either bearer (or bearer_file), or username and password")
        if (self.username is None) is not (self.password is None):
            raise ValueError("username and password (or password_file) come together")
        if self.bearer is not None and not re.fullmatch(r"[\x21-\x7e]+", self.bearer.get_secret_value()):
            raise ValueError("a bearer token is printable ASCII without spaces")
        return self


class AddressSettings(_Strict):
    """Where the device answers, and how to prove who asks."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="What all its requests begin with.", examples=["http://10.0.0.9:8080/api"]
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=10)] = Field(2.0, description="For one request as a whole.")
    auth: AuthSettings | None = None
    headers: dict[str, Secret] = Field({}, description="Sent with every request.")
    verify: bool = Field(True, description="false accepts any certificate: only for a first try.")
    ca_file: Path | None = Field(None, description="PEM file of the authority that signed the device's certificate.")

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        for name, value in self.headers.items():
            text = value.get_secret_value()
            if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name!r} is no header that can be set here")
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"the header {name} is printable ASCII")
        if self.ca_file is None:
            return self
        if not self.verify:
            raise ValueError("verify: false and ca_file contradict each other")
        path = Path((info.context or {}).get("folder", ".")) / self.ca_file
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:
            raise ValueError(f"ca_file {path} cannot be used: {error}") from None
        return self.model_copy(update={"ca_file": path})


class RequestSettings(_Strict):
    """One request whose answer holds the values of many properties."""

    path: Path_ = ""
    method: Literal["GET", "POST"] = "GET"
    body: JsonValue = Field(None, description="JSON sent along, for APIs that are asked by POST.")
    period: _Period | None = Field(None, description="How often it is made, if not as often as the device.")
    time: TimePick | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.body is not None and self.method == "GET":
            raise ValueError("a GET has no body; method: POST has")
        return self


class CommandSettings(_Strict):
    """How one property is written. `$value` stands for the value: typed in the body, URL-encoded in the path."""

    path: Path_ = ""
    method: Literal["PUT", "POST", "PATCH", "GET", "DELETE"] = "PUT"
    body: JsonValue = Field(None, description="JSON; the text $value becomes the value.", examples=[{"on": "$value"}])
    expect: tuple[Annotated[int, Field(ge=200, le=399)], ...] = Field(
        (), description="Statuses that mean it was taken; by default all from 200 to 299."
    )
    confirm_timeout: Annotated[Duration, Field(ge=0.01, le=20)] = Field(
        3.0, description="How long the property's request has to show the value."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if VALUE not in self.path and not any(VALUE in text for text in _texts(self.body)):
            raise ValueError("$value occurs neither in the body nor in the path, so the value would not be sent")
        if self.body is not None and self.method == "GET":
            raise ValueError("a GET has no body")
        return self


class PropertySettings(_Strict):
    """Where one property is read, by polling or from what the device pushes, and how it is written."""

    request: str | None = Field(None, description="The request it is picked from, if there is more than one.")
    pick: Pick | None = Field(None, description="JMESPath on the request's answer.")
    push: Pick | None = Field(None, description="JMESPath on the body that the device posts to the webhook.")
    scale: _Factor = Field(Decimal(1), description="value = what the device says × scale")
    deadband: _Band = Field(0.0, description="Smaller changes are not reported.")
    tolerance: _Band = Field(0.0, description="How far a reported number may be from the one written.")
    optional: bool = Field(False, description="An answer in which nothing is picked is no fault.")
    command: CommandSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pick is None and self.push is None and self.command is None:
            raise ValueError("a property has a pick, a push or a command")
        if self.request is not None and self.pick is None:
            raise ValueError("pick says what is read from the request, and there is none")
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        return self


class WebhookSettings(_Strict):
    """Where the device posts what changed: `POST /{path}` of the node's `webhooks:` listener."""

    path: Annotated[str, AfterValidator(_check_names)] = Field("{device}", pattern=r"^/?[A-Za-z0-9._~{}/-]+$")
    time: TimePick | None = None
    period: Annotated[Duration, Field(ge=0.01)] | None = Field(
        None,
        description="A device that is not polled pushes at least this often; after three of them without a word it "
        "is stale. Without it, that is learnt from a device that keeps to a beat.",
    )
    silence: Annotated[Duration, Field(ge=0.01)] | None = Field(
        None,
        description="Offline after pushing nothing for this long; if it is polled too, only when it does not answer "
        "either, and then 60s by default.",
    )


class DeviceSettings(_Strict):
    """A device document's `spec` for `adapter: http`."""

    address: AddressSettings | None = Field(None, description="Only a device that does nothing but push has none.")
    period: _Period = Field(2.0, description="How often requests are made.")
    requests: dict[str, RequestSettings] = Field(
        {DEFAULT_REQUEST: RequestSettings.model_validate({})},
        min_length=1,
        description="By default one, to address.url itself.",
    )
    properties: dict[str, PropertySettings] = Field(min_length=1)
    webhook: WebhookSettings | None = None

    def request_of(self, settings: PropertySettings) -> str:
        """The name of the request that a property with a pick is read from."""
        return settings.request or (next(iter(self.requests)) if len(self.requests) == 1 else DEFAULT_REQUEST)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, settings in self.properties.items():
            if settings.pick is not None and self.request_of(settings) not in self.requests:
                known = ", ".join(self.requests)
                raise ValueError(f"{name} is picked from {self.request_of(settings)!r}; the requests are: {known}")
            if settings.push is not None and self.webhook is None:
                raise ValueError(f"{name} is pushed, but there is no webhook: section")
            if self.address is None and (settings.pick is not None or settings.command is not None):
                raise ValueError(f"{name} needs an address")
        if self.webhook is not None and not any(each.push for each in self.properties.values()):
            raise ValueError("no property is taken from the webhook; give one a push")
        return self


class Names:
    """What the names in a device's address, paths and webhook stand for."""

    def __init__(self, device: str, namespace: str) -> None:
        self._values = {"device": device, "namespace": namespace}

    def expand(self, template: str) -> str:
        return _NAME.sub(lambda found: self._values[found[1]], template)


def _texts(body: JsonValue) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    for item in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from _texts(item)
