"""Whether the write-ahead log lost something that was durable.

At its opening SQLite takes the log up to the first frame that does not verify, and drops the rest without a word.
After a power cut that is right: the rest is one transaction that nobody was told of. But here each commit is synced
before the next one begins, so a frame that continues a commit proves that commit, and all before it, to have been on
the disk. If such a frame is found in what SQLite dropped, the log was damaged since. (Damage to the very last commit
cannot be told from a torn one; the peers notice what is missing then.)
"""

from __future__ import annotations

import struct
from pathlib import Path

from twingateway.errors import StoreCorrupt

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # its lowest bit gives the byte order of the checksums


def require_whole(log: Path, taken: int) -> None:
    """Raises StoreCorrupt unless the `taken` frames that SQLite took are all that were durable.

    `log`: the write-ahead log as it was left by the process before, not written to since.
    """
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return
    if len(content) <= _HEADER:
        return
    order = "<" if content[3] == _MAGIC & 0xFF else ">"
    magic, _, page = struct.unpack(">3I", content[:12])
    if magic & ~1 != _MAGIC or _checksum(order, content[:24], (0, 0)) != struct.unpack(">2I", content[24:32]):
        raise StoreCorrupt("the head of the store's write-ahead log is damaged; restore a backup, or move it away")
    salt, size = content[16:24], _FRAME + page
    for start in range(_HEADER + taken * size, len(content) - 2 * size + 1, size):
        commit, follower = content[start : start + _FRAME], content[start + size : start + 2 * size]
        ends_transaction = commit[4:8] != bytes(4)
        if ends_transaction and salt == commit[8:16] == follower[8:16] and _continues(order, commit, follower):
            raise StoreCorrupt(
                f"the store's write-ahead log is damaged behind frame {taken}; restore a backup, or move it away"
            )


def _continues(order: str, before: bytes, frame: bytes) -> bool:
    first, second = struct.unpack(">2I", before[16:24])
    expected = _checksum(order, frame[_FRAME:], _checksum(order, frame[:8], (first, second)))
    return expected == struct.unpack(">2I", frame[16:24])


def _checksum(order: str, data: bytes, start: tuple[int, int]) -> tuple[int, int]:
    """SQLite's, over 32-bit words by twos."""
    first, second = start
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
