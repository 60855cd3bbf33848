"""What an MQTT device document and the node's `adapters: mqtt:` section may say."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from twingateway.adapter import Duration, check_jmespath

#: What stands for a desired value in a command's template.
VALUE = "$value"

_NAME = re.compile(r"\{([^{}]*)\}")
_NAMES = frozenset({"base", "device", "namespace"})


def _check_template(template: str) -> str:
    """A topic in which `{base}`, `{device}` and `{namespace}` may stand."""
    unknown = sorted(set(_NAME.findall(template)) - _NAMES)
    if unknown:
        raise ValueError(f"{{{unknown[0]}}} means nothing here; use {{base}}, {{device}} or {{namespace}}")
    if not template or set(template) & set("+#\x00") or template.startswith("$"):
        raise ValueError("a topic is not empty, does not begin with $ and holds none of + and #")
    return template


def _check_base(template: str) -> str:
    if "{base}" in template:
        raise ValueError("{base} cannot be part of itself")
    return _check_template(template)


Topic = Annotated[
    str,
    AfterValidator(_check_template),
    Field(description="A topic; {base}, {device} and {namespace} are replaced.", examples=["{base}/status"]),
]
Pick = Annotated[
    str,
    AfterValidator(check_jmespath),
    Field(description="JMESPath expression on the decoded payload.", examples=["apower", "sensors[0].value"]),
]
TimePick = Annotated[
    str,
    AfterValidator(check_jmespath),
    Field(
        description="JMESPath of the device's own time in its JSON and CBOR payloads: Unix milliseconds.",
        examples=["ts"],
    ),
]
_Wait = Annotated[Duration, Field(ge=0.01, le=600)]


class Format(StrEnum):
    """How a payload's bytes are read and written."""

    JSON = "json"
    CBOR = "cbor"
    TEXT = "text"


class ScalarType(StrEnum):
    """What a picked value is converted to."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MqttSettings(_Strict):
    """The broker is the node's own (`broker:` section), so there is nothing to set: write `mqtt: {}`."""


class AddressSettings(_Strict):
    """Where the device speaks."""

    base: Annotated[str, AfterValidator(_check_base)] = Field(
        "{device}", description="What its topics have in common; {base} elsewhere.", examples=["shelly/plug-1"]
    )


class CommandSettings(_Strict):
    """How one property is written."""

    topic: Topic
    payload: Format = Format.JSON
    template: JsonValue = Field(
        VALUE,
        description="The payload. The text $value becomes the desired value, inside a longer text its text.",
        examples=[{"output": "$value"}],
    )
    qos: int = Field(1, ge=0, le=1)
    retain: bool = Field(False, description="The broker keeps the command for a device that is not connected.")
    confirm_timeout: _Wait = Field(5.0, description="How long the state topic has to report the value.")
    tolerance: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="How far a reported number may be from the one asked for."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.payload is Format.TEXT and not isinstance(self.template, str):
            raise ValueError("the template of a text payload is a text")
        return self


class PropertySettings(_Strict):
    """Where one property is reported, and how it is commanded."""

    topic: Topic | None = Field(None, description="The state topic; without it the property can only be written.")
    payload: Format = Format.JSON
    pick: Pick | None = Field(None, description="Without it the whole payload is the value.")
    type: ScalarType | None = Field(None, description="Convert to this; by default what the model says, if anything.")
    true_words: tuple[str, ...] = Field((), description="Texts that mean true, in any case; the first is written.")
    false_words: tuple[str, ...] = Field((), description="Texts that mean false, in any case; the first is written.")
    optional: bool = Field(False, description="A message in which nothing is picked is no fault.")
    command: CommandSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.topic is None and self.command is None:
            raise ValueError("a property has a topic, a command, or both")
        if self.topic is None and self.pick is not None:
            raise ValueError("pick says what is read from the topic, and there is none")
        if self.payload is Format.TEXT and self.pick is not None:
            raise ValueError("nothing can be picked from a text payload")
        if bool(self.true_words) is not bool(self.false_words):
            raise ValueError("true_words and false_words come together")
        return self


class PresenceSettings(_Strict):
    """How to tell that the device is gone: by its last will, by its silence, or by either."""

    topic: Topic | None = Field(None, description="Where its last will is published, and that it is back.")
    payload: Format = Format.TEXT
    pick: Pick | None = None
    online: str | bool | int = "online"
    offline: str | bool | int = "offline"
    silence: Annotated[Duration, Field(ge=0.01)] | None = Field(
        None, description="The device is offline when nothing was heard for this long."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.topic is None and self.silence is None:
            raise ValueError("presence needs a topic, a silence, or both")
        if str(self.online).casefold() == str(self.offline).casefold():
            raise ValueError("online and offline are the same")
        return self


class ReadSettings(_Strict):
    """A message that makes the device report its state."""

    topic: Topic
    payload: Format = Format.TEXT
    template: JsonValue = ""


class DeviceSettings(_Strict):
    """One device on the node's broker."""

    address: AddressSettings = AddressSettings(base="{device}")
    properties: dict[str, PropertySettings] = Field(min_length=1)
    time: TimePick | None = None
    period: Annotated[Duration, Field(ge=0.01)] | None = Field(
        None,
        description="The device says something at least this often; after three of them without a word it is stale. "
        "Without it, that is learnt from a device that keeps to a beat.",
    )
    presence: PresenceSettings | None = None
    read: ReadSettings | None = Field(
        None, description="Without it, a read waits for what the device says by itself."
    )
    read_timeout: _Wait = Field(5.0, description="How long a read waits for the state topics.")


class Names:
    """What the names in a device's topics stand for."""

    def __init__(self, base: str, device: str, namespace: str) -> None:
        self._values = {"device": device, "namespace": namespace}
        self._values["base"] = self.expand(base)

    def expand(self, template: str) -> str:
        return _NAME.sub(lambda found: self._values[found[1]], template)
