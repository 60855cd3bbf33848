"""Waiting until a file, or the names in a directory, are on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """A file's content, or which files a directory has. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
