"""Everything that the process's own SQLite does to files below one folder, in order, as it happens.

The standard library's `sqlite3` uses a shared SQLite library. Its default VFS is copied there with the calls that
change files replaced: each is noted and then done as before. So it is the store as it runs that is recorded.
"""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    file: str


@dataclass(frozen=True, slots=True)
class Delete:
    """`durable`: the directory was synced behind it."""

    file: str
    durable: bool


Operation = Write | Truncate | Sync | Delete

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = [
        *((name, c_int) for name in ("version", "file_size", "longest_path")),
        *((name, c_void_p) for name in ("next", "name", "data", "open", "delete")),
        ("others", c_void_p * 11),
    ]


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = [
        ("version", c_int),
        *((name, c_void_p) for name in ("close", "read", "write", "truncate", "sync")),
        ("others", c_void_p * 13),
    ]


def library() -> ctypes.CDLL | None:
    """The SQLite library that `sqlite3` uses, None where it is not a shared one."""
    assert sqlite3.sqlite_version
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if "libsqlite3" in path:
            return ctypes.CDLL(path)
    return None


class _Recorder:
    def __init__(self, folder: Path, sqlite: ctypes.CDLL, log: list[Any]) -> None:
        self._folder = folder
        self._log = log
        self._names: dict[int, str] = {}
        self._methods: dict[int, _Methods] = {}
        self._kept: list[Any] = []
        self._calls: dict[str, Any] = {}
        self._addresses: tuple[int | None, ...] | None = None
        sqlite.sqlite3_vfs_find.restype = c_void_p
        found = sqlite.sqlite3_vfs_find(None)
        self.original = c_void_p(found)
        self.vfs = _Vfs.from_buffer_copy(ctypes.string_at(found, ctypes.sizeof(_Vfs)))
        self._open, self._delete = _OPEN(self.vfs.open), _DELETE(self.vfs.delete)
        self._label = ctypes.create_string_buffer(b"recording")
        self.vfs.name, self.vfs.next = ctypes.addressof(self._label), None
        self.vfs.open, self.vfs.delete = self._keep(_OPEN(self._on_open)), self._keep(_DELETE(self._on_delete))

    def _keep(self, callback: Any) -> int | None:
        self._kept.append(callback)
        return ctypes.cast(callback, c_void_p).value

    def _name(self, path: bytes | None) -> str | None:
        if not path or Path(path.decode()).parent != self._folder:
            return None
        return Path(path.decode()).name

    def _on_open(self, vfs: int, path: int | None, file: int, flags: int, out: int | None) -> int:
        status: int = self._open(vfs, path, file, flags, out)
        name = None if path is None else self._name(ctypes.string_at(path))
        if status == 0 and name is not None:
            self._names[file] = name
            pointer = ctypes.cast(file, POINTER(c_void_p))
            pointer[0] = ctypes.addressof(self._recording(pointer[0]))
        return status

    def _recording(self, original: int) -> _Methods:
        if original not in self._methods:
            ours = _Methods.from_buffer_copy(ctypes.string_at(original, ctypes.sizeof(_Methods)))
            addresses = (ours.write, ours.truncate, ours.sync)
            assert self._addresses in (None, addresses), "file systems of one kind only: one way to write"
            self._addresses = addresses
            self._calls = {
                "write": _WRITE(ours.write),
                "truncate": _TRUNCATE(ours.truncate),
                "sync": _SYNC(ours.sync),
            }
            ours.write = self._keep(_WRITE(self._on_write))
            ours.truncate = self._keep(_TRUNCATE(self._on_truncate))
            ours.sync = self._keep(_SYNC(self._on_sync))
            self._methods[original] = ours
        return self._methods[original]

    def _on_write(self, file: int, data: int, size: int, offset: int) -> int:
        self._log.append(Write(self._names[file], offset, ctypes.string_at(data, size)))
        return int(self._calls["write"](file, data, size, offset))

    def _on_truncate(self, file: int, size: int) -> int:
        self._log.append(Truncate(self._names[file], size))
        return int(self._calls["truncate"](file, size))

    def _on_sync(self, file: int, flags: int) -> int:
        status = int(self._calls["sync"](file, flags))
        self._log.append(Sync(self._names[file]))
        return status

    def _on_delete(self, vfs: int, path: bytes, sync: int) -> int:
        status: int = self._delete(vfs, path, sync)
        name = self._name(path)
        if status == 0 and name is not None:
            self._log.append(Delete(name, bool(sync)))
        return status


@contextmanager
def recording(folder: Path, log: list[Any]) -> Iterator[None]:
    """Append to `log` every Operation on files of `folder` by connections opened within (and closed within)."""
    sqlite = library()
    assert sqlite is not None
    recorder = _Recorder(folder.resolve(), sqlite, log)
    sqlite.sqlite3_vfs_register(byref(recorder.vfs), 1)
    try:
        yield
    finally:
        sqlite.sqlite3_vfs_register(recorder.original, 1)
        sqlite.sqlite3_vfs_unregister(byref(recorder.vfs))
