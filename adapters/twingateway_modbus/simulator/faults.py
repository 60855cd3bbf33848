"""Ways in which a simulated unit misbehaves, and how often. Pure; randomness is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from twingateway_modbus.framing import Framing
from twingateway_modbus.reply import EXCEPTION
from twingateway_modbus.simulator.inbox import Asked


class FaultKind(StrEnum):
    SILENCE = "silence"
    DELAY = "delay"
    EXCEPTION = "exception"
    FUNCTION = "function"
    LENGTH = "length"
    GARBAGE = "garbage"
    HALF = "half"
    DROP = "drop"
    ECHO = "echo"
    NOISE = "noise"
    UNIT = "unit"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Fault:
    """`share` of the replies, 0 to 1, are spoiled so. `amount`: seconds of a delay, code of an exception. An echo is
    that of the request, before the reply; noise are bytes that are altered, or in excess."""

    kind: FaultKind
    share: float = 1.0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes out instead: `chunks` of bytes, after `delay` seconds; then the connection ends if `drop`."""

    chunks: tuple[bytes, ...]
    delay: float = 0.0
    drop: bool = False


class Faults:
    """Chooses for each reply at most one fault, by the shares."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.faults = tuple(faults)
        self._random = Random(seed)
        self._before: dict[int, bytes] = {}

    def choose(self) -> Fault | None:
        """For one reply."""
        chance = self._random.random()
        for fault in self.faults:
            if chance < fault.share:
                return fault
            chance -= fault.share
        return None

    def spoil(self, fault: Fault | None, asked: Asked, pdu: bytes, framing: Framing) -> Sending:
        """The good reply `pdu`, framed, or what becomes of it."""
        good = framing.frame(asked.transaction, asked.unit, pdu)
        stale, self._before[asked.unit] = self._before.get(asked.unit, b""), good
        return Sending((good,)) if fault is None else self._apply(fault, asked, pdu, framing, stale)

    def _apply(self, fault: Fault, asked: Asked, pdu: bytes, framing: Framing, stale: bytes) -> Sending:
        good = framing.frame(asked.transaction, asked.unit, pdu)
        if fault.kind is FaultKind.SILENCE:
            return Sending(())
        if fault.kind is FaultKind.DELAY:
            return Sending((good,), fault.amount)
        if fault.kind is FaultKind.DROP:
            return Sending((), drop=True)
        if fault.kind is FaultKind.HALF:
            return Sending((good[: self._random.randrange(1, len(good))],))
        if fault.kind is FaultKind.GARBAGE:
            return Sending((self._random.randbytes(self._random.randrange(1, 40)),))
        if fault.kind is FaultKind.ECHO:
            return Sending((framing.frame(asked.transaction, asked.unit, asked.pdu), good))
        if fault.kind is FaultKind.NOISE:
            return Sending((self._noisy(good),))
        if fault.kind is FaultKind.STALE:
            return Sending((stale,) if stale else ())
        if fault.kind is FaultKind.UNIT:
            return Sending((framing.frame(asked.transaction, asked.unit % 247 + 1, pdu),))
        return Sending((framing.frame(asked.transaction, asked.unit, _SPOILED[fault.kind](pdu, int(fault.amount))),))

    def _noisy(self, frame: bytes) -> bytes:
        """One to three bytes are others, or stand before the frame, or behind it."""
        count, place = self._random.randrange(1, 4), self._random.randrange(3)
        if place == 0:
            return self._random.randbytes(count) + frame
        if place == 1:
            return frame + self._random.randbytes(count)
        data = bytearray(frame)
        for at in self._random.sample(range(len(data)), count):
            data[at] ^= self._random.randrange(1, 256)
        return bytes(data)


def _exception(pdu: bytes, code: int) -> bytes:
    return bytes([pdu[0] & 0x7F | EXCEPTION, code or 4])


def _function(pdu: bytes, _: int) -> bytes:
    return bytes([pdu[0] % 6 + 1]) + pdu[1:]


def _length(pdu: bytes, _: int) -> bytes:
    """Two bytes too many, and counted."""
    return pdu[:1] + bytes([(pdu[1] + 2) & 0xFF]) + pdu[2:] + b"\x00\x2a"


_SPOILED: dict[FaultKind, Callable[[bytes, int], bytes]] = {
    FaultKind.EXCEPTION: _exception,
    FaultKind.FUNCTION: _function,
    FaultKind.LENGTH: _length,
}
