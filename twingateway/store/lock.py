"""One process per store file, held by a lock that the kernel releases however the process ends.

The lock is on a file next to the store, because closing a descriptor of the store itself would drop SQLite's own
locks. It is taken with `flock`, which also refuses a second opening within one process. It is never behind a link:
root would write to whatever the node's user has made it lead to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from twingateway.errors import StoreError


class ProcessLock:
    """Taken on construction; raises StoreError naming the process that has it."""

    def __init__(self, store: Path) -> None:
        resolved = store.resolve()
        self.path = resolved.with_name(f"{resolved.name}-lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StoreError(f"{self.path} is a link, and must be a file: remove it") from error
            raise StoreError(f"{self.path} cannot be opened: {error.strerror}; check permissions") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreError(
                f"{store} is in use by process {holder}: stop that node, or give this one a store file of its own",
                process=holder,
            ) from error
        with contextlib.suppress(OSError):  # no space: the lock holds without a name
            written = os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            os.truncate(self._descriptor, written)

    def give_to(self, user: int, group: int) -> None:
        """The file: who made it need not be who takes the lock next. Raises OSError."""
        os.fchown(self._descriptor, user, group)

    def release(self) -> None:
        os.close(self._descriptor)
