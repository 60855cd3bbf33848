"""Room set aside on the disk, so that what is under way can end well when others have filled it.

It is a file beside the store whose blocks are allocated and that holds nothing. When SQLite finds no space the file
is emptied, and the store goes on with the room that was its. Registers replace one another, so that lasts for long;
what takes room are new things, and those are refused meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from pathlib import Path

from twingateway.errors import StoreError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
#: The share of its disk that is set aside at most: a small one is not taken for full.
SHARE = 8


class Spare:
    """Room beside the store at `path`, whose folder is there: `most` bytes, less on a small disk; 0 for none."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path.with_name(f"{path.name}-spare")
        disk = os.statvfs(path.parent)
        self.size = min(most, disk.f_blocks * disk.f_frsize // SHARE)

    @property
    def lack(self) -> str:
        """What is wrong while it cannot be set aside, and what would end that."""
        need = math.ceil((self.size + self.size // 2) / 1024)
        free = f"{math.ceil(need / 1024)} MiB" if need >= 1024 else f"{need} KiB"
        return (
            "there is no space left for the store but what is set aside for work under way; writing goes on when "
            f"{free} are free on its disk"
        )

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
