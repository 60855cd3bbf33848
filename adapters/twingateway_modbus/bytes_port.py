"""The two ends of a line of bytes: who sends on it, and who is told what came."""

from __future__ import annotations

from typing import Protocol


class Receiver(Protocol):
    def received(self, data: bytes) -> None: ...

    def lost(self, reason: str = "") -> None:
        """It ended by itself, for what the other end said if that is known."""
        ...


class Channel(Protocol):
    @property
    def alive(self) -> bool: ...

    def send(self, data: bytes) -> None: ...

    def close(self) -> None:
        """At once; the receiver is not told."""
        ...
