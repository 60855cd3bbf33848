"""What an adapter does to its process: how often it connects, whether it holds the event loop up, what it leaves.

An audit hook sees calls that no wrapper could: it is set once, stays for good, and does nothing between two tests. Of
`time.sleep` it is told from Python 3.13 on only, so that is wrapped.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex
from weakref import WeakSet

from twingateway.testing import fair_loop

#: Where a process's open files are listed, on systems that do.
_FILES = (Path("/proc/self/fd"), Path("/dev/fd"))
#: Threads of the loop's own executor live as long as the loop.
_EXECUTOR = "asyncio_"
#: What may be kept open for good.
_KEPT = ("/dev/null", "/dev/urandom", "/dev/random")

_watching: Watch | None = None
_is_hooked = False


class Watch:
    """Counts from when it is made. `blocking`: calls that held up the loop, with where they were made."""

    def __init__(self) -> None:
        self.connects = 0
        self._connected: WeakSet[Any] = WeakSet()
        self.blocking: list[str] = []
        self._thread = threading.get_ident()
        self._files = _open_files()
        self._threads = set(threading.enumerate())

    def sockets(self) -> list[str]:
        """Connected to somewhere since, and open still."""
        return [repr(each) for each in self._connected if each.fileno() != -1]

    def files(self) -> list[str]:
        """Open now and not when it was made."""
        return [name for number, name in _open_files().items() if self._files.get(number) != name]

    def threads(self) -> list[str]:
        """Running now and not when it was made."""
        return [
            thread.name
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith(_EXECUTOR)
        ]

    @contextmanager
    def watching(self) -> Iterator[None]:
        global _watching, _is_hooked  # noqa: PLW0603  # an audit hook is one for the whole process
        if not _is_hooked:
            sys.addaudithook(_hook)
            _is_hooked = True
        _watching, sleep = self, time.sleep

        def watched(seconds: float | SupportsIndex) -> None:
            if seconds != 0:
                self._judge("time.sleep")
            sleep(seconds)

        time.sleep = watched
        try:
            yield
        finally:
            _watching, time.sleep = None, sleep

    def saw(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            self.connects += 1
            self._connected.add(args[0])
            if args[0].gettimeout() != 0:
                self._judge("a connect() that waits")
        if event == "socket.getaddrinfo":
            self._judge("socket.getaddrinfo")

    def _judge(self, what: str) -> None:
        """It takes its time; whoever called it, two frames further up, must not do so on the loop."""
        caller = sys._getframe(2)
        if threading.get_ident() == self._thread and caller.f_code.co_filename != fair_loop.__file__:
            self.blocking.append(f"{what} at {caller.f_code.co_filename}:{caller.f_lineno}")


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching is not None and event.startswith("socket."):
        _watching.saw(event, args)


def _open_files() -> dict[int, str]:
    """What each descriptor stands for; empty where the system does not say."""
    folder = next((each for each in _FILES if each.is_dir()), None)
    found = {}
    for entry in [] if folder is None else os.listdir(folder):
        try:
            name = os.readlink(f"{folder}/{entry}")
        except OSError:  # the listing's own, gone since
            continue
        if name not in _KEPT:
            found[int(entry)] = name
    return found
