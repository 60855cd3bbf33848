"""Room set aside on the disk, so that what is under way can end well when others have filled it.

It is a file beside the store whose blocks are allocated and that holds nothing. When SQLite finds no space the file
is emptied, and the store goes on with the room that was its. Registers replace one another, so that lasts for long;
what takes room are new things, and those are refused meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from twingateway.errors import StoreError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class Spare:
    """`size` bytes beside the store at `path`; 0 for none."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path.with_name(f"{path.name}-spare")
        self.size = size

    @property
    def log_pages(self) -> int:
        """How long the write-ahead log may become: all of it must fit into the main file once space has run out."""
        return max(16, min(1000, self.size // (4 * 4096))) if self.size else 1000

    def hold(self) -> bool:
        """Set the room aside, if half as much again is left for others; False if it is not there. Raises StoreError
        where files cannot be allocated."""
        if not self.size:
            self._path.unlink(missing_ok=True)
            return True
        try:
            with self._path.open("ab") as file:
                held = file.tell()
                file.truncate(min(held, self.size))
                os.posix_fallocate(file.fileno(), 0, self.size)
                left = os.fstatvfs(file.fileno())
                enough = held >= self.size or left.f_bavail * left.f_frsize >= self.size // 2
                if not enough:
                    file.truncate(0)
                return enough
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise StoreError(f"no room can be set aside at {self._path}: {error.strerror}") from error
        self.release()
        return False

    def hold_some(self) -> None:
        """When a store closes that is short of space: keep what that leaves for its next opening."""
        sizes = [self.size >> halved for halved in range(8)]
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            for size in filter(None, sizes):
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError:
                    file.truncate(0)
                else:
                    break

    def release(self) -> bool:
        """Give the room to the store; False if there was none."""
        try:
            size = self._path.stat().st_size
            os.truncate(self._path, 0)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"the room set aside at {self._path} cannot be had: {error.strerror}") from error
        return size > 0
