"""The port to a stream of bytes both ways that is not understood here: what a relayed client has with its broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class ByteStream(Protocol):
    """One open stream. A stream that breaks reads as ended."""

    async def read(self) -> bytes:
        """What has come, at least one byte and at most 64 KiB; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more; does nothing after the end."""
        ...

    def end(self) -> None:
        """Nothing more is to be written; what the other side has to say still comes."""
        ...

    async def close(self) -> None:
        """End it both ways, for good."""
        ...


#: Opens a stream to the node's broker. Raises BrokerError when it cannot be reached.
OpenStream = Callable[[], Awaitable[ByteStream]]
