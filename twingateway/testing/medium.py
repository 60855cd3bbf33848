"""Where a store under test keeps things: what a test class of the contracts provides."""

from __future__ import annotations

from typing import Protocol

from twingateway.ports.store import Store


class Medium(Protocol):
    """Where a store keeps things; the same one is opened again and again."""

    async def open(self) -> Store: ...

    async def crash(self, store: Store) -> None:
        """End `store` as a process's death would: without `close`."""
        ...

    async def fill(self, store: Store) -> None:
        """Leave no space for anything the size of `bulk()`."""
        ...

    async def relieve(self, store: Store) -> None:
        """Give the space back."""
        ...
