"""What changes files, ended before any one of its calls: by SIGKILL, or by an error of the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

#: What is called of the system to change which files there are, and what is in them.
CALLS = ("link", "rename", "replace", "unlink", "fsync")


def each_cut(work: Callable[[], object]) -> Iterator[int]:
    """In a process of its own `work` is ended before its first call, its second, and so on → the number of the call.
    The folder has to be as at first each time."""
    cut = 0
    while _ended_before(cut, work):
        yield cut
        cut += 1


def _ended_before(cut: int, work: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                _count(patch, cut, lambda name: os._exit(9))
                work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), "it ends by itself, or is ended"
    return code == 9


def failing(patch: pytest.MonkeyPatch, cut: int) -> list[str]:
    """From now on the call of that number fails → its name, once it did."""
    failed: list[str] = []

    def fail(name: str) -> None:
        failed.append(name)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    _count(patch, cut, fail)
    return failed


def _count(patch: pytest.MonkeyPatch, cut: int, end: Callable[[str], object]) -> None:
    calls = 0

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def before(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == cut + 1:
                end(name)
            return call(*args, **options)

        return before

    for name in CALLS:
        patch.setattr(os, name, counted(name, getattr(os, name)))
    patch.setattr(shutil, "copyfileobj", counted("copyfileobj", shutil.copyfileobj))
