"""What a property was, as far back as its retention reaches: older points are not shown, deleted already or not."""

from __future__ import annotations

from dataclasses import replace

from twingateway.gateway.state.clock import Clock
from twingateway.gateway.twins.retention import Retention
from twingateway.ports.journal import Bucket, Point, Span
from twingateway.ports.store import Store


class History:
    """Of all properties whose history is kept here. Retention counts from now, or from a property's newest point if
    that is earlier: as when points are deleted, so that no clock that is wrong can hide a series."""

    def __init__(self, store: Store, retention_of: Retention, clock: Clock) -> None:
        self._store = store
        self._retention_of = retention_of
        self._clock = clock

    async def points(self, span: Span, after: tuple[int, int], limit: int) -> list[Point]:
        """Points behind `(time, order)`, in that order. Raises StoreError."""
        return await self._store.points(await self._retained(span), after, limit)

    async def buckets(self, span: Span, step: int, limit: int) -> list[Bucket]:
        """Points summed up per `step` milliseconds counted from the span's start; empty steps are left out. Raises
        StoreError."""
        return await self._store.buckets(await self._retained(span), step, limit)

    async def _retained(self, span: Span) -> Span:
        newest = await self._store.newest_point(span.device, span.name)
        if newest is None:
            return span
        retention = int(self._retention_of(span.device, span.name) * 1000)
        return replace(span, oldest=min(newest, self._clock.wall_ms()) - retention)
