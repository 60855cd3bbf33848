"""The frame codec: what goes in comes out, and nothing else gets in."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.sync.cbor import decode, int_size, value_size
from twingateway.sync.frame import (
    MAX_FRAME,
    MAX_NAMES,
    SECTIONS,
    Answer,
    Exceptions,
    Frame,
    Names,
    decode_frame,
    encode_frame,
)
from twingateway.twin.register import Version

NUMBERS = st.integers(0, 2**40)
SMALL = st.integers(0, 300)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def intervals(draw):
    """Highest first, with a gap between each."""
    found, last = [], draw(NUMBERS) + 1
    for _ in range(draw(st.integers(0, 5))):
        first = last - draw(SMALL)
        if first < 1:
            break
        found.append((first, last))
        last = first - 2 - draw(SMALL)
        if last < 1:
            break
    return tuple(found)


@st.composite
def registers(draw):
    """Registers in the order of their groups, as an encoder leaves them."""
    rows = []
    for epoch in draw(st.lists(st.tuples(SMALL, SMALL), unique=True, max_size=3)):
        for _ in range(draw(st.integers(1, 3))):
            version = Version(*epoch, draw(NUMBERS))
            rows.append((draw(SMALL), draw(SMALL), version, draw(VALUES), draw(st.integers(-(2**45), 2**45))))
    return tuple(rows)


REFUSED = st.lists(st.tuples(SMALL, st.text(max_size=9), st.text(max_size=20)), max_size=3).map(tuple)
EXCEPTIONS = st.lists(
    st.builds(Exceptions, NUMBERS.map(lambda n: n + 1), st.booleans(), SMALL, SMALL, REFUSED), max_size=2
)
NAMES = st.builds(
    Names,
    st.dictionaries(SMALL, st.text(min_size=1, max_size=9), min_size=1, max_size=3),
    st.dictionaries(SMALL, st.tuples(st.sampled_from(SECTIONS), st.text(max_size=9)), max_size=3),
)


@st.composite
def frames(draw):
    top = draw(NUMBERS)
    return Frame(
        number=draw(NUMBERS) + 1,
        top=top,
        low=draw(st.integers(0, top)),
        answer=draw(st.none() | st.builds(Answer, intervals(), intervals(), EXCEPTIONS.map(tuple))),
        names=draw(st.none() | NAMES),
        registers=draw(registers()),
    )


@settings(max_examples=200)
@given(frames())
def test_a_frame_survives_its_bytes(frame):
    assert decode_frame(encode_frame(frame)) == frame


@settings(max_examples=50)
@given(frames())
def test_every_truncation_and_every_addition_is_refused(frame):
    whole = encode_frame(frame)
    for end in range(len(whole)):
        with pytest.raises(ProtocolViolation):
            decode_frame(whole[:end])
    with pytest.raises(ProtocolViolation):
        decode_frame(whole + b"\0")


FOREIGN = st.recursive(
    SCALARS | st.floats() | st.binary(max_size=4) | st.integers(0, 2**70),
    lambda inner: (
        st.lists(inner, max_size=9) | st.dictionaries(st.integers() | st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=20,
)


def accepted(data: bytes) -> bool:
    """Whether it is a frame; any other end than ProtocolViolation fails the test."""
    try:
        frame = decode_frame(data)
    except ProtocolViolation:
        return False
    return isinstance(frame, Frame)


@settings(max_examples=200)
@given(st.lists(FOREIGN, max_size=10))
def test_any_cbor_is_a_frame_or_a_violation(items):
    accepted(cbor2.dumps(items))


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_a_violation(data):
    accepted(data)


@settings(max_examples=200)
@given(frames(), st.data())
def test_a_damaged_frame_is_a_frame_or_a_violation(frame, data):
    whole = bytearray(encode_frame(frame))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    accepted(bytes(whole))


GOOD = [1, 7, 0, None, None, 5, 1000, [1, 1, 0, 0, 0, 0, 21.5]]


def with_item(at, item):
    items = list(GOOD)
    items[at] = item
    return items


HOSTILE = {
    "number 0": with_item(0, 0),
    "boolean as number": with_item(0, True),
    "low above top": with_item(2, 8),
    "negative top": with_item(1, -1),
    "nan": with_item(7, [1, 1, 0, 0, 0, 0, float("nan")]),
    "infinity inside": with_item(7, [1, 1, 0, 0, 0, 0, [float("inf")]]),
    "bytes as value": with_item(7, [1, 1, 0, 0, 0, 0, b"x"]),
    "number as member name": with_item(7, [1, 1, 0, 0, 0, 0, {1: 2}]),
    "half a register": with_item(7, [1, 1, 0, 0, 0]),
    "negative seq": with_item(7, [1, 1, 0, 0, -6, 0, 1]),
    "negative device": with_item(7, [1, 1, -1, 0, 0, 0, 1]),
    "float epoch": with_item(7, [1, 1.0, 0, 0, 0, 0, 1]),
    "empty group": with_item(7, [1, 1]),
    "groups missing": GOOD[:7],
    "range below 1": with_item(3, [[3, 3], [], []]),
    "odd range": with_item(3, [[3], [], []]),
    "too many ranges": with_item(3, [[9999, 0] + [0, 0] * 64, [], []]),
    "no names": with_item(4, [[], []]),
    "number named twice": with_item(4, [[0, "default/a", 0, "default/b"], []]),
    "name number too high": with_item(4, [[MAX_NAMES, "default/a"], []]),
    "unknown section": with_item(4, [[], [0, len(SECTIONS), "a"]]),
    "long name": with_item(4, [[], [0, 0, "a" * 1025]]),
}


@pytest.mark.parametrize("items", HOSTILE.values(), ids=HOSTILE.keys())
def test_wrong_fields_are_refused(items):
    assert accepted(cbor2.dumps(GOOD))
    with pytest.raises(ProtocolViolation):
        decode_frame(cbor2.dumps(items))


def test_nesting_ends_at_sixteen_levels():
    def nested(levels):
        value = 1
        for _ in range(levels):
            value = [value]
        return cbor2.dumps(with_item(7, [1, 1, 0, 0, 0, 0, value]))

    assert accepted(nested(16))
    assert not accepted(nested(17))
    assert not accepted(b"\x81" * 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b"\x9f\x01\xff",  # indefinite array
        bytes.fromhex("9bffffffffffffffff"),  # claims 2^64 elements
        bytes.fromhex("5b7fffffffffffffff00"),  # claims 2^63 bytes
        bytes.fromhex("c11a514b67b0"),  # a date
        bytes.fromhex("d8236161"),  # a regular expression
        bytes.fromhex("c249010000000000000000"),  # a big integer
        bytes.fromhex("d9ffff00"),  # an unknown tag
        bytes.fromhex("a2616101616102"),  # a key twice
        bytes.fromhex("62c328"),  # not UTF-8
        b"\x00" * (MAX_FRAME + 1),
    ],
)
def test_what_cbor_offers_beyond_plain_values_is_refused(data):
    assert not accepted(data)
    if len(data) <= MAX_FRAME:
        with pytest.raises(ProtocolViolation):
            decode(data, 20)


@settings(max_examples=200)
@given(VALUES)
def test_a_value_is_never_larger_than_its_size(value):
    assert len(cbor2.dumps(value, canonical=True)) <= value_size(value)


@given(st.integers(-(2**63), 2**63))
def test_int_size_is_what_cbor_takes(number):
    assert int_size(number) == len(cbor2.dumps(number))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 2**64, b"x", {1: 2}, [set()], "\ud800"])
def test_what_is_no_value_is_not_sent(value):
    with pytest.raises(InvalidValue):
        value_size(value)


def test_a_numeric_register_takes_about_fifteen_bytes():
    rows = tuple((device, 3, Version(1, 1, 5000 + device), 20.25 + device, 10**12 + device) for device in range(50))
    assert len(encode_frame(Frame(1000, 90_000, 89_000, registers=rows))) / len(rows) < 15
