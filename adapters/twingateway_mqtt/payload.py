"""A payload's bytes ↔ a value, within limits that no message can exceed."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable

from twingateway.adapter import Value
from twingateway.errors import DeviceReplyInvalid
from twingateway_mqtt.settings import Format

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16


def decode(payload: bytes, kind: Format) -> Value:
    """Raises DeviceReplyInvalid for anything that is not a value within the limits."""
    if len(payload) > MAX_BYTES:
        raise DeviceReplyInvalid(f"a payload of {len(payload)} bytes; at most {MAX_BYTES} are allowed")
    decoded = _DECODERS[kind](payload)
    return _Checker().plain(decoded, 0)


def encode(value: Value, kind: Format) -> bytes:
    return _ENCODERS[kind](value)


def text_of(value: Value) -> str:
    """As a text payload shows it: `true`, `21.5`, `auto`; anything nested as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Checker:
    """Copies a decoded payload while checking that it is plain JSON data.

    Counts what it visits: CBOR can refer to one item from many places, so that few bytes would unfold to billions.
    """

    def __init__(self) -> None:
        self._visited = 0

    def plain(self, value: object, depth: int) -> Value:
        self._visited += 1
        if self._visited > MAX_BYTES:
            raise DeviceReplyInvalid("the payload unfolds to more values than it has bytes")
        if value is None or isinstance(value, bool | str | int):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise DeviceReplyInvalid(f"the payload holds {value}, which is not a number that can be kept")
            return value
        if depth >= MAX_DEPTH:
            raise DeviceReplyInvalid(f"the payload is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, list):
            return [self.plain(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {self._key(key): self.plain(item, depth + 1) for key, item in value.items()}
        raise DeviceReplyInvalid(f"the payload holds a {type(value).__name__}, which JSON does not have")

    @staticmethod
    def _key(key: object) -> str:
        if not isinstance(key, str):
            raise DeviceReplyInvalid(f"the payload has a key that is not a text: {key!r:.40}")
        return key


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _decode_json(payload: bytes) -> object:
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise DeviceReplyInvalid(f"the payload is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise DeviceReplyInvalid(f"the payload is not JSON: {error}") from None


def _decode_cbor(payload: bytes) -> object:
    import cbor2

    stream = io.BytesIO(payload)
    try:
        decoded: object = cbor2.CBORDecoder(stream, read_size=1).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise DeviceReplyInvalid(f"the payload is not CBOR: {error}") from None
    if stream.read(1):
        raise DeviceReplyInvalid("the payload goes on after its CBOR item")
    return decoded


def _decode_text(payload: bytes) -> object:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise DeviceReplyInvalid("the payload is not UTF-8 text") from None


def _encode_json(value: Value) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _encode_cbor(value: Value) -> bytes:
    import cbor2

    return bytes(cbor2.dumps(value))


def _encode_text(value: Value) -> bytes:
    return text_of(value).encode()


_DECODERS: dict[Format, Callable[[bytes], object]] = {
    Format.JSON: _decode_json,
    Format.CBOR: _decode_cbor,
    Format.TEXT: _decode_text,
}
_ENCODERS: dict[Format, Callable[[Value], bytes]] = {
    Format.JSON: _encode_json,
    Format.CBOR: _encode_cbor,
    Format.TEXT: _encode_text,
}
