"""What an HTTP status means for a device: one table from status to error, and how long it asks to be left alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from twingateway.errors import DeviceError, DeviceRefused, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable

#: Statuses whose meaning differs from that of their hundred.
_MEANING: dict[int, type[DeviceError]] = {
    408: DeviceTimeout,
    425: DeviceUnreachable,
    429: DeviceUnreachable,
    501: DeviceRefused,
    502: DeviceUnreachable,
    503: DeviceUnreachable,
    504: DeviceTimeout,
    505: DeviceRefused,
}
_HUNDREDS: dict[int, type[DeviceError]] = {
    2: DeviceRefused,
    3: DeviceRefused,
    4: DeviceRefused,
    5: DeviceReplyInvalid,
}

#: Seconds that a device can ask to be left alone at most.
MAX_PAUSE = 3600.0
#: Characters of the device's own words that are shown.
_SHOWN = 200
#: Members of an error document that say why.
_REASONS = ("detail", "message", "error_description", "error", "title", "reason")


def is_success(status: int) -> bool:
    return 200 <= status <= 299


def error_of(status: int) -> type[DeviceError]:
    """The error that an unwelcome status stands for."""
    return _MEANING.get(status) or _HUNDREDS.get(status // 100, DeviceReplyInvalid)


def phrase(status: int) -> str:
    """`404 Not Found`"""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def reason_in(body: bytes, content_type: str) -> str:
    """What the device says about its refusal, as one line of at most 200 characters; empty if nothing readable."""
    text = ""
    if "json" in content_type:
        text = _reason_in_json(body)
    elif content_type.startswith("text/plain"):
        text = body[: 4 * _SHOWN].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _reason_in_json(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(document, dict):
        # One level further down, for {"error": {"message": "…"}}.
        inner = document.get("error")
        for place in (document, inner if isinstance(inner, dict) else {}):
            for name in _REASONS:
                if isinstance(place.get(name), str):
                    return str(place[name])
    return document if isinstance(document, str) else ""


def retry_after(headers: Mapping[str, str], wall_ms: int) -> float | None:
    """Seconds that a `Retry-After` asks for, at most an hour; None without one that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_PAUSE)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = (when - datetime.fromtimestamp(wall_ms / 1000, UTC)).total_seconds()
    return min(max(0.0, math.ceil(seconds)), MAX_PAUSE)
