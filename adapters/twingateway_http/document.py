"""A body's bytes → a JSON document within limits that no device can exceed, and the device's own time in it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import NoReturn

from twingateway.adapter import Value
from twingateway.errors import DeviceReplyInvalid

#: Largest answer of a device, in bytes; each value in it is held to the twin's own limit later.
MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
#: Below this a time is in seconds: as milliseconds it would be before 1974, as seconds after the year 5000.
_MILLISECONDS_FROM = 1e11
#: The year 9999, in milliseconds.
_LAST_MS = 253_402_300_800_000


def parse_json(body: bytes) -> Value:
    """Raises DeviceReplyInvalid for what is not JSON or nested too deeply."""
    try:
        document: Value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        beginning = body[:40].decode("utf-8", "replace") if body else "nothing"
        raise DeviceReplyInvalid(f"not JSON ({error}): {beginning!r}") from None
    _check_depth(document)
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_depth(document: Value) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for each in level
            if isinstance(each, list | dict)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not any(isinstance(item, list | dict) for item in level):
            return
    raise _too_deep()


def _too_deep() -> DeviceReplyInvalid:
    return DeviceReplyInvalid(f"nested deeper than {MAX_DEPTH} levels")


def unix_ms(value: Value) -> int:
    """A time as devices write it → Unix milliseconds. A text without a zone is UTC. Raises DeviceReplyInvalid."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise DeviceReplyInvalid(f"{value[:40]!r} is not a time") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise DeviceReplyInvalid("the device's time is neither a number nor a text")
    milliseconds = value if abs(value) >= _MILLISECONDS_FROM else value * 1000
    if not 0 <= milliseconds < _LAST_MS:
        raise DeviceReplyInvalid(f"{value!r:.40} is not a time")
    return round(milliseconds)
