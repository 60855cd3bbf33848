"""Notices that the machine's network has changed: an address came or went, or a route did (Linux; elsewhere silent).

What the kernel says is not read, only that it says something. One change makes it say several things, so they are
waited out for a moment, and the change is told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import structlog

#: Seconds from the first word of a change until it is told.
SETTLING = 0.3

#: What to be told of (linux/rtnetlink.h): addresses, and routes of IPv4 (those of IPv6 come with each advertisement).
_GROUPS = 0x10 | 0x40 | 0x100
_READ_SIZE = 65_536

_log = structlog.get_logger(__name__)


def open_kernel_socket() -> socket.socket | None:
    """Where the kernel tells of changes, None if it does not."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    told = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        told.bind((0, _GROUPS))
    except OSError:
        told.close()
        raise
    return told


class NetworkWatch:
    """Calls `changed` on the event loop, from `start` until `close`."""

    def __init__(
        self,
        changed: Callable[[], None],
        open_socket: Callable[[], socket.socket | None] = open_kernel_socket,
    ) -> None:
        self._changed = changed
        self._open_socket = open_socket
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        try:
            self._socket = self._open_socket()
        except OSError as problem:
            _log.info("changes of the network are not noticed", problem=str(problem))
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):  # it said more than could be kept: that it did is enough
            while self._socket.recv(_READ_SIZE):
                pass
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLING, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._changed()
