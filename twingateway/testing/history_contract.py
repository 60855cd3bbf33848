"""What every store promises of history, as tests; part of `StoreContract`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twingateway.ports.journal import Span
from twingateway.ports.store import Changes, Store
from twingateway.testing.journal_contract import OTHER, PUMP, entry, filed
from twingateway.testing.medium import Medium
from twingateway.twin.entry import HISTORY
from twingateway.twin.value import Value


class HistoryContract:
    """The tests. Each leaves its stores closed."""

    async def _with_history(self, medium: Medium, values: list[tuple[int, Value]]) -> Store:
        store = await medium.open()
        entries = [
            replace(entry(n, value, class_name=HISTORY, name="flow"), time=time)
            for n, (time, value) in enumerate(values)
        ]
        await store.commit(Changes(journal=filed(*entries, queue=False, keep=True)))
        return store

    async def test_history_becomes_points_in_order_of_time(self, medium: Medium) -> None:
        values: list[tuple[int, Value]] = [(30, 3.5), (10, 1), (20, "two"), (20, [True]), (40, None), (41, 1.0)]
        store = await self._with_history(medium, values)
        points = await store.points(Span(PUMP, "flow", 10, 41), (-1, 0), 100)
        assert [(p.time, p.value) for p in points] == [(10, 1), (20, "two"), (20, [True]), (30, 3.5), (40, None)]
        assert [type(p.value) for p in points][:1] == [int]
        page = await store.points(Span(PUMP, "flow", 0, 99), (points[1].time, points[1].order), 2)
        assert page == points[2:4]
        assert await store.points(Span(PUMP, "speed", 0, 99), (-1, 0), 9) == []
        assert await store.series() == [(PUMP, "flow")]
        assert await store.kept_page(HISTORY, 0, 9) == []
        await store.close()

    async def test_history_is_summed_up_by_step(self, medium: Medium) -> None:
        values: list[tuple[int, Value]] = [(5, 9), (10, 1), (14, 2.0), (15, "off"), (19, True), (30, "off"), (40, 7)]
        store = await self._with_history(medium, values)
        found = await store.buckets(Span(PUMP, "flow", 10, 40), 10, 100)
        assert [(b.time, b.count, b.minimum, b.mean, b.maximum) for b in found] == [
            (10, 4, 1, 1.5, 2),
            (30, 1, None, None, None),
        ]
        assert len(await store.buckets(Span(PUMP, "flow", 0, 99), 1, 3)) == 3
        await store.close()

    async def test_what_is_older_than_a_span_lets_in_does_not_count(self, medium: Medium) -> None:
        store = await self._with_history(medium, [(5, 9), (14, 1), (15, 3), (25, 4)])
        span = Span(PUMP, "flow", 0, 25, oldest=15)
        assert [p.time for p in await store.points(span, (-1, 0), 9)] == [15]
        assert [(b.time, b.count, b.mean) for b in await store.buckets(span, 10, 9)] == [(10, 1, 3)], "steps stay"
        earlier = Span(PUMP, "flow", 14, 25, oldest=0)
        assert [p.time for p in await store.points(earlier, (-1, 0), 9)] == [14, 15]
        await store.close()

    async def test_the_last_point_of_all_or_up_to_some_moment_can_be_asked_for(self, medium: Medium) -> None:
        store = await self._with_history(medium, [(30, "last"), (10, 1), (20, 2), (20, 3)])
        found = [await store.last_point(PUMP, "flow", (time, 1 << 62)) for time in (9, 10, 19, 20, 29, 30)]
        assert [None if point is None else point.value for point in found] == [None, 1, 1, 3, 3, "last"]
        newest = await store.last_point(PUMP, "flow")
        assert newest is not None
        assert newest.value == "last"
        second = found[3]
        assert second is not None
        before = await store.last_point(PUMP, "flow", (20, second.order - 1))
        assert before is not None
        assert before.value == 2, "of two at the same time the one that came first"
        assert await store.last_point(PUMP, "speed") is None
        await store.close()

    async def test_old_points_go_unless_only_a_clock_makes_them_old(self, medium: Medium) -> None:
        store = await self._with_history(medium, [(1_000, 1), (2_000, 2), (3_000, 3)])
        assert await store.prune_points(PUMP, "flow", 1_500, 10_000_000) == 1, "counted from the newest point"
        assert await store.prune_points(PUMP, "flow", 500, 2_400) == 0, "and from now"
        left = await store.points(Span(PUMP, "flow", 0, 9_999), (-1, 0), 9)
        assert [p.value for p in left] == [2, 3]
        assert await store.prune_points(PUMP, "speed", 500, 2_400) == 0
        await store.close()

    async def test_history_beyond_its_bytes_loses_what_came_first(self, medium: Medium) -> None:
        store = await self._with_history(medium, [(9_000 - n, "x" * 100) for n in range(40)])
        taken = await store.history_bytes()
        assert taken > 40 * 100
        assert await store.trim_history(taken) == 0, "it fits"
        gone = await store.trim_history(taken - 1)
        assert 4 <= gone <= 6, "a tenth is free then"
        assert taken * 0.8 < await store.history_bytes() <= taken * 0.9
        points = await store.points(Span(PUMP, "flow", 0, 99_999), (-1, 0), 99)
        assert [p.time for p in points] == [9_000 - n for n in reversed(range(gone, 40))], "by arrival, not by clocks"
        await store.prune_points(PUMP, "flow", 0, 99_999)
        assert await store.history_bytes() == pytest.approx(taken / 40, rel=0.1), "one point is left"
        await store.close()

    async def test_gaps_in_history_are_kept_as_entries(self, medium: Medium) -> None:
        store = await medium.open()
        await store.receive(filed(entry(3, 1.5, class_name=HISTORY, journal_id=OTHER, seq=3), queue=False, keep=True))
        (gap,) = await store.kept_page(HISTORY, 0, 9)
        assert (gap.entry.seq, gap.entry.last, gap.entry.gap) == (1, 2, "lost")
        assert len(await store.points(Span(PUMP, "e3", 0, 9_999), (-1, 0), 9)) == 1
        await store.close()
