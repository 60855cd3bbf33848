"""What was read from files, read again when one of them changes: rotation and revocation need no restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from twingateway.errors import CertificateError

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int], ...]


class Watched(Generic[T]):
    """Reads on construction. Raises CertificateError then, and in `get` for as long as the files are not right."""

    def __init__(self, files: Sequence[Path], read: Callable[[], T]) -> None:
        self._files = tuple(files)
        self._read = read
        self._stamp: Stamp | None = self._stamp_now()
        self._value = read()

    def get(self) -> T:
        """The files' present content; costs one `stat` each while they are unchanged."""
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = None
            self._value = self._read()
            self._stamp = stamp
        return self._value

    @property
    def last(self) -> T:
        """What was last read well."""
        return self._value

    def _stamp_now(self) -> Stamp:
        stamp = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError as error:
                raise CertificateError(f"{file} cannot be read: {error.strerror}", file=str(file)) from error
            stamp.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(stamp)
