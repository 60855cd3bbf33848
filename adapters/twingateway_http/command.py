"""A desired value → the request that writes it, and whether what the device then shows is that value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import quote

from twingateway.adapter import Value
from twingateway_http.endpoint import Call
from twingateway_http.reading import plain
from twingateway_http.settings import VALUE, CommandSettings, Names, PropertySettings
from twingateway_http.statuses import is_success

#: What a device may lose of a number by holding it in binary, relative to it.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Command:
    """How one property is written."""

    settings: CommandSettings
    path: str
    scale: Decimal

    @classmethod
    def of(cls, settings: PropertySettings, names: Names) -> Command:
        assert settings.command is not None
        return cls(settings.command, names.expand(settings.command.path), settings.scale)

    def call(self, value: Value) -> Call:
        raw = self._raw(value)
        path = self.path.replace(VALUE, quote(_text(raw), safe=""))
        body = None
        if self.settings.body is not None:
            body = json.dumps(fill(self.settings.body, raw), ensure_ascii=False, separators=(",", ":")).encode()
        return Call(self.settings.method, path, body)

    def is_taken(self, status: int) -> bool:
        return status in self.settings.expect if self.settings.expect else is_success(status)

    def _raw(self, value: Value) -> Value:
        if self.scale == 1 or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return plain(Decimal(str(value)) / self.scale)


def fill(template: Value, value: Value) -> Value:
    """The template with `$value` replaced: by the value itself, or by its text inside a longer text."""
    if template == VALUE:
        return value
    if isinstance(template, str):
        return template.replace(VALUE, _text(value))
    if isinstance(template, list):
        return [fill(item, value) for item in template]
    if isinstance(template, dict):
        return {key: fill(item, value) for key, item in template.items()}
    return template


def equal(wanted: Value, observed: Value, tolerance: float) -> bool:
    """Numbers within `tolerance`, everything else as JSON has it: `true` is not `1`."""
    if isinstance(wanted, bool) or isinstance(observed, bool):
        return wanted is observed
    if isinstance(wanted, int | float) and isinstance(observed, int | float):
        return abs(wanted - observed) <= tolerance + _ROUNDING * max(abs(wanted), abs(observed))
    return wanted == observed


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
