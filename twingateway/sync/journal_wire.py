"""The messages of a journal stream: `resume`, `batch`, `ack`.

A batch holds runs of entries with consecutive seqs of one journal. Devices with their properties are numbered as they
first occur; the stream is reliable and in order, so a name is spelled out once. See PROTOCOL.md, *Journal*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from twingateway.errors import InvalidValue, ProtocolViolation
from twingateway.sync.cbor import MAX_INTEGER, decode, encode, is_value, value_size
from twingateway.twin.entry import JournalEntry, JournalKey, gap_for
from twingateway.twin.value import MAX_DEPTH

RESUME, BATCH, ACK = 0, 1, 2

#: Names a sender numbers before it begins anew.
MAX_NAMES = 8192
MAX_MESSAGE = 200 * 1024
_MAX_ID = 64
_MAX_TEXT = 1024
_DEPTH = MAX_DEPTH + 3

#: Device (None for an entry about none) and property or code.
Name: TypeAlias = "tuple[str | None, str]"


class Resume(NamedTuple):
    """`last`: the key of the last entry that is durable at the speaker from the one spoken to, if it remembers."""

    class_name: str
    last: JournalKey | None


@dataclass(frozen=True, slots=True)
class Run:
    """Entries of one journal in a row: `(name's number, time after the one before, value)`, or for a gap record
    `(-count, …, reason)`."""

    journal_id: bytes
    node: str
    seq: int
    time: int
    items: tuple[tuple[int, int, Any], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`names` are numbered from `first_name`; 0 says that all former ones are void."""

    number: int
    first_name: int
    names: tuple[Name, ...]
    runs: tuple[Run, ...]


def encode_resume(resume: Resume) -> bytes:
    journal_id, seq = resume.last or (b"", 0)
    return encode([RESUME, resume.class_name, journal_id, seq])


def encode_ack(number: int) -> bytes:
    return encode([ACK, number])


def encode_batch(batch: Batch) -> bytes:
    flat_names = [part for name in batch.names for part in name]
    names = [batch.first_name, *flat_names] if batch.names else None
    runs = [
        [run.journal_id, run.node, run.seq, run.time, *(part for item in run.items for part in item)]
        for run in batch.runs
    ]
    return encode([BATCH, batch.number, names, *runs])


def decode_message(message: bytes) -> Resume | Batch | int:
    """A resume, a batch, or the number of an ack. Raises ProtocolViolation."""
    if len(message) > MAX_MESSAGE:
        raise ProtocolViolation("a journal message is too large", 0x95)
    item = decode(message, _DEPTH)
    if not isinstance(item, list) or not item or type(item[0]) is not int:
        raise ProtocolViolation("a journal message is an array with its kind")
    try:
        return _DECODERS[item[0]](item[1:])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ProtocolViolation(f"not a journal message: {error}") from error


def _decode_resume(body: list[Any]) -> Resume:
    class_name, journal_id, seq = body
    if not journal_id and seq == 0:
        return Resume(_text(class_name, 1, 64), None)
    return Resume(_text(class_name, 1, 64), JournalKey(_journal_id(journal_id), _number(seq, 1)))


def _decode_ack(body: list[Any]) -> int:
    (number,) = body
    return _number(number, 1)


def _decode_batch(body: list[Any]) -> Batch:
    number, names, first, *more = body
    first_name, parsed = (0, ()) if names is None else (_number(names[0]), tuple(_names(names[1:])))
    if names is not None and not parsed:
        raise ValueError("names without any")
    return Batch(_number(number, 1), first_name, parsed, tuple(map(_run, [first, *more])))


def _names(flat: list[Any]) -> Iterator[Name]:
    for device, name in zip(flat[::2], flat[1::2], strict=True):
        yield None if device is None else _text(device, 1), _text(name)


def _run(item: list[Any]) -> Run:
    journal_id, node, seq, time, *flat = item
    items = tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    if not items:
        raise ValueError("a run without entries")
    end = _number(seq, 1)
    for name, later, value in items:
        end += max(1, -_number(name, -MAX_INTEGER))
        _number(later, -MAX_INTEGER)
        if (name < 0 and not _text(value, 1, 64)) or not is_value(value):
            raise ValueError("not an entry")
    _number(end)
    return Run(_journal_id(journal_id), _text(node, 1), seq, _number(time, -MAX_INTEGER), items)


def _number(item: object, least: int = 0) -> int:
    if type(item) is not int or not least <= item <= MAX_INTEGER:
        raise ValueError(f"{item!r} is not such a number")
    return item


def _text(item: object, least: int = 0, most: int = _MAX_TEXT) -> str:
    if not isinstance(item, str) or not least <= len(item) <= most:
        raise ValueError("not such a text")
    return item


def _journal_id(item: object) -> bytes:
    if not isinstance(item, bytes) or not 1 <= len(item) <= _MAX_ID:
        raise ValueError("not a journal id")
    return item


_DECODERS: dict[int, Callable[[list[Any]], Resume | Batch | int]] = {
    RESUME: _decode_resume,
    BATCH: _decode_batch,
    ACK: _decode_ack,
}


class NamesOut:
    """Numbers for names, as the sender of one stream gives them."""

    def __init__(self) -> None:
        self._numbers: dict[Name, int] = {}

    def batch(self, number: int, entries: Sequence[JournalEntry]) -> Batch:
        """Entries in order, as one batch."""
        if len(self._numbers) + len(entries) > MAX_NAMES:
            self._numbers.clear()
        first_name = len(self._numbers)
        new: list[Name] = []
        runs: list[tuple[JournalEntry, list[tuple[int, int, Any]]]] = []
        before: JournalEntry | None = None
        for entry in map(_sendable, entries):
            if before is None or not _follows(entry, before):
                runs.append((entry, []))
                before = entry
            runs[-1][1].append(self._item(entry, entry.time - before.time, new))
            before = entry
        shaped = (Run(head.journal_id, head.node, head.seq, head.time, tuple(items)) for head, items in runs)
        return Batch(number, first_name, tuple(new), tuple(shaped))

    def _item(self, entry: JournalEntry, later: int, new: list[Name]) -> tuple[int, int, Any]:
        if entry.gap:
            return -entry.count, later, entry.gap
        name = (entry.device, entry.name)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers)
            new.append(name)
        return number, later, entry.value


class NamesIn:
    """What those numbers mean to the receiver."""

    def __init__(self) -> None:
        self._names: list[Name] = []

    def entries(self, batch: Batch, class_name: str, namespace: str) -> list[JournalEntry]:
        """The batch's entries. Raises ProtocolViolation for numbers without a name."""
        if batch.names:
            if batch.first_name not in (0, len(self._names)) or batch.first_name + len(batch.names) > MAX_NAMES:
                raise ProtocolViolation("names that do not follow the former ones")
            self._names = self._names[: batch.first_name] + list(batch.names)
        return [entry for run in batch.runs for entry in self._run(run, class_name, namespace)]

    def _run(self, run: Run, class_name: str, namespace: str) -> Iterator[JournalEntry]:
        seq, time = run.seq, run.time
        for number, later, value in run.items:
            time += later
            gap = number < 0
            if number >= len(self._names):
                raise ProtocolViolation(f"name {number} was never told")
            device, name = (None, "") if gap else self._names[number]
            entry = JournalEntry(
                class_name,
                namespace,
                run.node,
                device,
                name,
                time,
                None if gap else value,
                run.journal_id,
                seq,
                -number if gap else 1,
                value if gap else "",
            )
            seq = entry.last + 1
            yield entry


def size_of(entry: JournalEntry) -> int:
    """About how many bytes an entry takes in a batch, its name spelled out."""
    try:
        return 16 + len(entry.device or "") + len(entry.name) + value_size(entry.value)
    except InvalidValue:
        return 32


def _sendable(entry: JournalEntry) -> JournalEntry:
    """What no peer would take is told as a gap rather than not at all."""
    return entry if is_value(entry.value) else gap_for(entry, entry.seq, entry.last, "refused")


def _follows(entry: JournalEntry, before: JournalEntry) -> bool:
    return (entry.journal_id, entry.seq, entry.node) == (before.journal_id, before.last + 1, before.node)
