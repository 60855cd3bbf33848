"""What a disk holds after the power failed: everything that was synced, and of the rest whatever chance left.

A sync makes a file's content durable, and the first one its directory entry (SQLite syncs the directory then). What
came after the last sync may be there whole, in part or not at all, in any order, in sectors of 512 bytes.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.store.recording_disk import Delete, Operation, Sync, Truncate, Write

SECTOR = 512


@dataclass(slots=True)
class _File:
    durable: bytearray | None = None
    """None: its name is not on the disk yet."""
    before: bytes | None = None
    """A file of this name whose deletion is not durable."""
    waiting: list[Write | Truncate] = field(default_factory=list)


class Disk:
    """Follows a recording; `outcomes` are contents that the power's failure at this point can leave."""

    def __init__(self, *existing: str) -> None:
        """`existing`: empty files whose names are on the disk already."""
        self._files = {name: _File(bytearray()) for name in existing}

    def do(self, operation: Operation) -> None:
        file = self._files.setdefault(operation.file, _File())
        match operation:
            case Write() | Truncate():
                file.waiting.append(operation)
            case Sync():
                if file.durable is None:
                    self._sync_directory()
                file.durable = _applied(file.durable or bytearray(), file.waiting)
                file.waiting = []
            case Delete(durable=True):
                del self._files[operation.file]
            case Delete():
                left = file.durable if file.durable is not None else file.before
                self._files[operation.file] = _File(None, None if left is None else bytes(left))

    def _sync_directory(self) -> None:
        """No deletion comes undone any more."""
        for file in self._files.values():
            file.before = None

    def outcomes(self, chance: random.Random, draws: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        """(what became of it, content by file name): nothing unsynced, all of it, the last write torn, any part
        (`draws` times)."""
        yield "nothing that was not synced", self._left(lambda waiting: [], chance, 0.0)
        yield "everything", self._left(lambda waiting: waiting, chance, 1.0)
        yield "the last write torn", self._left(lambda waiting: _torn(waiting, chance), chance, 1.0)
        for _ in range(draws):
            yield "some sectors", self._left(lambda waiting: _some(waiting, chance), chance, 0.5)

    def _left(self, keep: Any, chance: random.Random, named: float) -> dict[str, bytes]:
        left: dict[str, bytes] = {}
        for name, file in self._files.items():
            if file.durable is not None:
                left[name] = bytes(_applied(bytearray(file.durable), keep(file.waiting)))
            elif file.waiting and chance.random() < named:
                left[name] = bytes(_applied(bytearray(), keep(file.waiting)))
            elif file.before is not None and chance.random() >= named:
                left[name] = file.before
        return left


def _applied(content: bytearray, operations: Iterable[Write | Truncate]) -> bytearray:
    for operation in operations:
        if isinstance(operation, Truncate):
            del content[operation.size :]
            continue
        end = operation.offset + len(operation.data)
        content.extend(bytes(max(0, operation.offset - len(content))))
        content[operation.offset : end] = operation.data
    return content


def _torn(waiting: list[Write | Truncate], chance: random.Random) -> list[Write | Truncate]:
    if not waiting or not isinstance(waiting[-1], Write):
        return waiting[:-1]
    last = waiting[-1]
    return [*waiting[:-1], Write(last.file, last.offset, last.data[: SECTOR * chance.randrange(8)])]


def _some(waiting: list[Write | Truncate], chance: random.Random) -> list[Write | Truncate]:
    """Sectors are those of the disk: a write that ends within one leaves that part of it or not."""
    kept: list[Write | Truncate] = []
    for operation in waiting:
        if isinstance(operation, Truncate):
            kept += [operation] if chance.random() < 0.5 else []
            continue
        start, end = operation.offset, operation.offset + len(operation.data)
        for sector in range(start // SECTOR * SECTOR, end, SECTOR):
            if chance.random() < 0.5:
                first, last = max(start, sector), min(end, sector + SECTOR)
                kept.append(Write(operation.file, first, operation.data[first - start : last - start]))
    return kept


@contextmanager
def fast_folder() -> Iterator[Path]:
    """In memory where there is such a place: what is recovered need not survive anything."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder) / "recovered"
