"""Payloads: what is read, what is refused, and how commands are written."""

import contextlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twingateway_mqtt.convert import Converter, fill
from twingateway_mqtt.payload import MAX_BYTES, decode, encode
from twingateway_mqtt.settings import Format, ScalarType

from twingateway.adapter import Value
from twingateway.errors import DeviceReplyInvalid

DEEP: Value = 1
for _ in range(17):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("payload", "kind", "reason"),
    [
        (b"{", Format.JSON, "not JSON"),
        (b"\xff", Format.JSON, "not JSON"),
        (b'{"a": NaN}', Format.JSON, "not JSON"),
        (b"1e999", Format.JSON, "inf"),
        (b"[" * 60_000, Format.JSON, "deeper"),
        (encode(DEEP, Format.JSON), Format.JSON, "deeper than 16"),
        (b" " * (MAX_BYTES + 1), Format.JSON, "at most"),
        (b"\xa1", Format.CBOR, "not CBOR"),
        (b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", Format.CBOR, "not CBOR"),
        (b"\x01\x02", Format.CBOR, "goes on"),
        (b"\xfb\x7f\xf8\0\0\0\0\0\0", Format.CBOR, "nan"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", Format.CBOR, "deeper"),
        (cbor2.dumps({1: 2}), Format.CBOR, "key that is not a text"),
        (cbor2.dumps(b"bytes"), Format.CBOR, "a bytes"),
        (cbor2.dumps(DEEP), Format.CBOR, "deeper than 16"),
        (b"\xff", Format.TEXT, "not UTF-8"),
    ],
)
def test_a_bad_payload_is_refused(payload: bytes, kind: Format, reason: str) -> None:
    with pytest.raises(DeviceReplyInvalid, match=reason):
        decode(payload, kind)


def test_references_cannot_unfold_without_limit() -> None:
    nested: list[object] = [1]
    for _ in range(14):
        nested = [nested] * 20
    with pytest.raises(DeviceReplyInvalid, match="unfolds"):
        decode(cbor2.dumps(nested, value_sharing=True), Format.CBOR)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100)
@given(plain, st.sampled_from([Format.JSON, Format.CBOR]))
def test_what_is_written_is_read_again(value: Value, kind: Format) -> None:
    assert decode(encode(value, kind), kind) == value


@settings(max_examples=200)
@given(st.binary(max_size=80), st.sampled_from(list(Format)))
def test_no_bytes_escape_the_decoder(payload: bytes, kind: Format) -> None:
    with contextlib.suppress(DeviceReplyInvalid):
        decode(payload, kind)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (ScalarType.NUMBER, "21.5", 21.5),
        (ScalarType.NUMBER, " -3e2 ", -300.0),
        (ScalarType.NUMBER, 4, 4),
        (ScalarType.INTEGER, "42", 42),
        (ScalarType.INTEGER, "42.0", 42),
        (ScalarType.INTEGER, 42.0, 42),
        (ScalarType.BOOLEAN, "ON", True),
        (ScalarType.BOOLEAN, "off", False),
        (ScalarType.BOOLEAN, 1, True),
        (ScalarType.BOOLEAN, False, False),
        (ScalarType.STRING, 7, "7"),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_values_are_converted(kind: ScalarType | None, value: Value, read: Value) -> None:
    converted = Converter(kind, (), ()).read(value)
    assert converted == read
    assert type(converted) is type(read)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ScalarType.NUMBER, "warm"),
        (ScalarType.NUMBER, "nan"),
        (ScalarType.NUMBER, "1_0"),
        (ScalarType.NUMBER, True),
        (ScalarType.NUMBER, [1]),
        (ScalarType.INTEGER, "1.5"),
        (ScalarType.INTEGER, 1.5),
        (ScalarType.INTEGER, "9" * 5000),
        (ScalarType.BOOLEAN, "maybe"),
        (ScalarType.BOOLEAN, 2),
        (ScalarType.STRING, {"a": 1}),
    ],
)
def test_what_cannot_be_converted_is_refused(kind: ScalarType, value: Value) -> None:
    with pytest.raises(DeviceReplyInvalid):
        Converter(kind, (), ()).read(value)


def test_own_words_are_read_and_written() -> None:
    converter = Converter(ScalarType.BOOLEAN, ("OPEN", "ajar"), ("SHUT",))
    assert [converter.read(word) for word in ("open", "Ajar", "shut")] == [True, True, False]
    assert [converter.written(flag) for flag in (True, False)] == ["OPEN", "SHUT"]
    with pytest.raises(DeviceReplyInvalid):
        converter.read("on")


@pytest.mark.parametrize(
    ("template", "value", "filled"),
    [
        ("$value", 21.5, 21.5),
        ("set $value now", True, "set true now"),
        ({"id": 1, "params": [{"on": "$value"}]}, False, {"id": 1, "params": [{"on": False}]}),
        ({"mode": "$value"}, "$value", {"mode": "$value"}),
        ("fixed", 1, "fixed"),
    ],
)
def test_a_template_is_filled(template: Value, value: Value, filled: Value) -> None:
    assert fill(template, value) == filled
