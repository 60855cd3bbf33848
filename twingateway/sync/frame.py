"""The state frame's bytes (PROTOCOL.md has the CDDL).

A frame is one flat CBOR array with flat arrays inside, because that is both the smallest and what the C codec handles
fastest: about 15 bytes a register. Sequence numbers and times are differences to a base in the frame; incarnation and
epoch stand once per group of registers that share them. `decode_frame` checks every field and resolves nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from twingateway.errors import ProtocolViolation
from twingateway.sync.cbor import MAX_INTEGER, decode, encode, int_size, is_value, text_size
from twingateway.sync.ranges import Interval
from twingateway.twin.record import record
from twingateway.twin.register import Section, Version
from twingateway.twin.value import MAX_DEPTH, Value

#: A value of 64 KiB as JSON takes at most 9/4 of that in CBOR (`0.1,` becomes nine bytes).
MAX_FRAME = 160 * 1024
MAX_NAMES = 2**20
MAX_NAME = 1024
MAX_INTERVALS = 64
MAX_EXCEPTIONS = 64
#: Characters of a refusal's code and message.
MAX_CODE = 64
MAX_MESSAGE = 200
#: frame > group > value
_DEPTH = 2 + MAX_DEPTH
_STRIDE = 5

#: A section's number on the wire is its place here.
SECTIONS = (
    Section.REPORTED,
    Section.ACK,
    Section.PRESENCE,
    Section.DESIRED,
    Section.TAGS,
    Section.LIFECYCLE,
    Section.REACH,
    Section.OVERRIDE,
    Section.VERDICT,
)
SECTION_NUMBER = {section: number for number, section in enumerate(SECTIONS)}

UNKNOWN_NAME = "unknown-name"

#: Device number, field number, version, value, time.
RawRegister: TypeAlias = tuple[int, int, Version, Value, int]


@record
class Exceptions:
    """What became of the registers `first`..`last` of a received frame, of which some were refused.

    `refused`: `(index in the frame, code, message)`. `durable`: all others between `first` and `last` are.
    """

    frame: int
    durable: bool
    first: int
    last: int
    refused: tuple[tuple[int, str, str], ...]


@record
class Answer:
    """What one end tells of the other's frames. Intervals highest first."""

    seen: tuple[Interval, ...] = ()
    durable: tuple[Interval, ...] = ()
    exceptions: tuple[Exceptions, ...] = ()

    @property
    def size(self) -> int:
        """Bytes it takes in a frame."""
        return answer_size(_answer_item(self))

    @property
    def highest(self) -> int:
        """The highest frame number it speaks of."""
        return max(
            self.seen[0][1] if self.seen else 0,
            self.durable[0][1] if self.durable else 0,
            max((item.frame for item in self.exceptions), default=0),
        )


@record
class Names:
    """Newly named things: device number → `namespace/name`, field number → section and property."""

    devices: dict[int, str]
    fields: dict[int, tuple[Section, str]]


@record
class Frame:
    """`top`: the sender's last lsn. `low`: every lsn up to it is durable at the receiver (0: nothing said)."""

    number: int
    top: int
    low: int
    answer: Answer | None = None
    names: Names | None = None
    registers: tuple[RawRegister, ...] = ()

    @property
    def elicits(self) -> bool:
        """Whether it wants to be acknowledged."""
        return bool(self.registers) or self.names is not None


# --- out --------------------------------------------------------------------------------------------------------


def _flat_intervals(intervals: tuple[Interval, ...]) -> list[int]:
    """`[highest, length-1, gap-1, length-1, …]`."""
    flat: list[int] = []
    above = 0
    for first, last in intervals:
        flat += (above - last - 2 if flat else last, last - first)
        above = first
    return flat


def _flat_exceptions(item: Exceptions) -> list[Any]:
    flat: list[Any] = [item.frame, item.durable, item.first, item.last]
    for index, code, message in item.refused:
        flat += (index, code, message)
    return flat


def answer_item(answer: Answer | None) -> list[Any] | None:
    return None if answer is None else _answer_item(answer)


def _answer_item(answer: Answer) -> list[Any]:
    return [
        _flat_intervals(answer.seen),
        _flat_intervals(answer.durable),
        [_flat_exceptions(item) for item in answer.exceptions],
    ]


def answer_size(item: list[Any]) -> int:
    """Bytes that the item of an answer takes."""
    seen, durable, exceptions = item
    told = len(encode(exceptions)) if exceptions else 1
    return 1 + _numbers_size(seen) + _numbers_size(durable) + told


def _numbers_size(numbers: list[int]) -> int:
    return int_size(len(numbers)) + sum(map(int_size, numbers))


def device_name_size(number: int, name: str) -> int:
    return int_size(number) + text_size(name)


def field_name_size(number: int, name: str) -> int:
    return int_size(number) + 1 + text_size(name)


def names_item(names: Names | None) -> list[Any] | None:
    if names is None:
        return None
    devices: list[Any] = []
    for number, text in names.devices.items():
        devices += (number, text)
    fields: list[Any] = []
    for number, (section, name) in names.fields.items():
        fields += (number, SECTION_NUMBER[section], name)
    return [devices, fields]


def encode_items(number: int, top: int, low: int, answer: Any, names: Any, tail: list[Any]) -> bytes:
    """`tail` is `[base seq, base time, *groups]`, or empty."""
    head: list[Any] = [number, top, top - low]
    if tail:
        head += (answer, names, *tail)
    elif names is not None:
        head += (answer, names)
    elif answer is not None:
        head.append(answer)
    return encode(head)


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame that is whole already; registers keep their order where their groups allow."""
    tail: list[Any] = []
    if frame.registers:
        seq, time = frame.registers[0][2].seq, frame.registers[0][4]
        groups: dict[tuple[int, int], list[Any]] = {}
        for device, field, version, value, at in frame.registers:
            epoch = version[:2]
            group = groups.setdefault(epoch, [*epoch])
            group += (device, field, version.seq - seq, at - time, value)
        tail = [seq, time, *groups.values()]
    return encode_items(frame.number, frame.top, frame.low, answer_item(frame.answer), names_item(frame.names), tail)


# --- in ---------------------------------------------------------------------------------------------------------


def _refuse(what: str) -> ProtocolViolation:
    return ProtocolViolation(f"state frame: {what}")


def _number(item: object, what: str, least: int = 0, most: int = MAX_INTEGER) -> int:
    if type(item) is not int or not least <= item <= most:
        raise _refuse(what)
    return item


def _text(item: object, what: str, most: int, least: int = 0) -> str:
    if type(item) is not str or not least <= len(item) <= most:
        raise _refuse(what)
    return item


def _list(item: object, what: str, most: int, stride: int = 1, head: int = 0) -> list[Any]:
    """An array of `head` elements and then whole strides, at most `most` of them."""
    if (
        not isinstance(item, list)
        or len(item) < head
        or (len(item) - head) % stride
        or len(item) > head + most * stride
    ):
        raise _refuse(what)
    return item


def _intervals(item: object) -> tuple[Interval, ...]:
    flat = _list(item, "ranges", MAX_INTERVALS, stride=2)
    intervals: list[Interval] = []
    above = 0
    for at in range(0, len(flat), 2):
        step, length = _number(flat[at], "range"), _number(flat[at + 1], "range")
        last = above - step - 2 if intervals else step
        first = last - length
        if first < 1:
            raise _refuse("a range begins below 1")
        intervals.append((first, last))
        above = first
    return tuple(intervals)


def _exceptions(item: object) -> Exceptions:
    flat = _list(item, "exceptions", MAX_FRAME, stride=3, head=4)
    if type(flat[1]) is not bool:
        raise _refuse("exceptions")
    return Exceptions(
        _number(flat[0], "exceptions", least=1),
        flat[1],
        _number(flat[2], "index"),
        _number(flat[3], "index"),
        tuple(
            (
                _number(flat[at], "index"),
                _text(flat[at + 1], "code", MAX_CODE),
                _text(flat[at + 2], "message", MAX_MESSAGE),
            )
            for at in range(4, len(flat), 3)
        ),
    )


def _answer(item: object) -> Answer | None:
    if item is None:
        return None
    if not isinstance(item, list) or len(item) != 3:
        raise _refuse("acknowledgements")
    seen, durable, exceptions = item
    listed = _list(exceptions, "exceptions", MAX_EXCEPTIONS)
    return Answer(_intervals(seen), _intervals(durable), tuple(_exceptions(one) for one in listed))


def _names(item: object) -> Names | None:
    if item is None:
        return None
    if not isinstance(item, list) or len(item) != 2:
        raise _refuse("names")
    flat = _list(item[0], "device names", MAX_FRAME, stride=2)
    devices = {
        _number(flat[at], "device number", most=MAX_NAMES - 1): _text(flat[at + 1], "device name", MAX_NAME, 1)
        for at in range(0, len(flat), 2)
    }
    flat = _list(item[1], "field names", MAX_FRAME, stride=3)
    fields = {
        _number(flat[at], "field number", most=MAX_NAMES - 1): (
            SECTIONS[_number(flat[at + 1], "section", most=len(SECTIONS) - 1)],
            _text(flat[at + 2], "field name", MAX_NAME),
        )
        for at in range(0, len(flat), 3)
    }
    if not devices and not fields:
        raise _refuse("no names where names are")
    if 2 * len(devices) != len(item[0]) or 3 * len(fields) != len(item[1]):
        raise _refuse("a number is named twice")
    return Names(devices, fields)


def _registers(seq: int, time: int, groups: list[Any]) -> list[RawRegister]:
    registers: list[RawRegister] = []
    for group in groups:
        flat = _list(group, "group", MAX_FRAME, stride=_STRIDE, head=2)
        incarnation, epoch = _number(flat[0], "incarnation"), _number(flat[1], "epoch")
        for at in range(2, len(flat), _STRIDE):
            device, field, later_seq, later, value = flat[at : at + _STRIDE]
            if type(device) is not int or type(field) is not int or device < 0 or field < 0:
                raise _refuse("name number")
            if type(later_seq) is not int or type(later) is not int or not is_value(value):
                raise _refuse("register")
            own_seq, own_time = seq + later_seq, time + later
            if not 0 <= own_seq <= MAX_INTEGER or not -MAX_INTEGER <= own_time <= MAX_INTEGER:
                raise _refuse("register")
            registers.append((device, field, Version(incarnation, epoch, own_seq), value, own_time))
    if not registers:
        raise _refuse("no registers where registers are")
    return registers


def decode_frame(data: bytes) -> Frame:
    """Raises ProtocolViolation unless every byte is as it must be."""
    if len(data) > MAX_FRAME:
        raise ProtocolViolation("a state frame is too large", 0x95)
    item = decode(data, _DEPTH)
    if not isinstance(item, list) or len(item) < 3 or len(item) in (6, 7):
        raise _refuse("wrong number of elements")
    number, top = _number(item[0], "number", least=1), _number(item[1], "top")
    low = top - _number(item[2], "low", most=top)
    answer = _answer(item[3]) if len(item) > 3 else None
    names = _names(item[4]) if len(item) > 4 else None
    registers: tuple[RawRegister, ...] = ()
    if len(item) > 7:
        seq, time = _number(item[5], "seq"), _number(item[6], "time", least=-MAX_INTEGER)
        registers = tuple(_registers(seq, time, item[7:]))
    return Frame(number, top, low, answer, names, registers)
