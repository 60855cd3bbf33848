"""A serial line on the event loop, by the terminal interface of POSIX: raw bytes, no flow control."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from typing import Any

from twingateway.errors import DeviceUnreachable
from twingateway_modbus.address import SerialSettings
from twingateway_modbus.bytes_port import Receiver

_READ_SIZE = 4096
_SIZES = {7: termios.CS7, 8: termios.CS8}
#: Major device numbers of pseudo-terminals on Linux.
_PSEUDO = range(136, 144)
_PARITIES = {"none": 0, "even": termios.PARENB, "odd": termios.PARENB | termios.PARODD}


class SerialLine:
    """Open and configured from the start; what was in its buffers before is thrown away."""

    def __init__(self, settings: SerialSettings, data_bits: int, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        self._file = -1
        try:
            self._file = os.open(settings.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            _lock(self._file)
            _configure(self._file, settings, data_bits)
        except (OSError, termios.error) as error:
            self.close()
            reason = error.args[-1] if error.args else error
            raise DeviceUnreachable(f"the serial line {settings.port} cannot be used: {reason}") from error
        self._loop.add_reader(self._file, self._readable)

    @property
    def alive(self) -> bool:
        return self._file >= 0

    def send(self, data: bytes) -> None:
        self._unsent += data
        self._writable()

    def close(self) -> None:
        self._receiver = None
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            self._loop.remove_writer(self._file)
            os.close(self._file)
            self._file = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._file, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._receiver is not None:
            self._receiver.received(data)
        elif not data:
            self._lost()

    def _writable(self) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                del self._unsent[: os.write(self._file, self._unsent)]
        except OSError:
            self._loop.call_soon(self._lost)
            return
        if self._unsent:
            self._loop.add_writer(self._file, self._writable)
        else:
            self._loop.remove_writer(self._file)

    def _lost(self) -> None:
        """The adapter was unplugged."""
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.lost()


def _lock(file: int) -> None:
    """Two masters on one line would garble each other's frames."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another program has it open") from None


def _configure(file: int, settings: SerialSettings, data_bits: int) -> None:
    speed = getattr(termios, f"B{settings.baud}", None)
    if speed is None:
        raise OSError(f"this system knows no {settings.baud} baud")
    two_stop = settings.stop_bits == 2 or (settings.stop_bits is None and settings.parity == "none")
    control = termios.CREAD | termios.CLOCAL | _SIZES[data_bits] | _PARITIES[settings.parity]
    attributes: list[Any] = termios.tcgetattr(file)
    attributes[0] = termios.INPCK if settings.parity != "none" else 0
    attributes[1] = 0
    attributes[2] = control | (termios.CSTOPB if two_stop else 0)
    attributes[3] = 0
    attributes[4] = attributes[5] = speed
    attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 0, 0
    try:
        termios.tcsetattr(file, termios.TCSANOW, attributes)
    except termios.error as error:
        if error.args[0] != errno.EINVAL or not _is_pseudo_terminal(file):
            raise
    termios.tcflush(file, termios.TCIOFLUSH)


def _is_pseudo_terminal(file: int) -> bool:
    """They have no parity and say that it is invalid, where it was asked for before."""
    return os.major(os.fstat(file).st_rdev) in _PSEUDO
