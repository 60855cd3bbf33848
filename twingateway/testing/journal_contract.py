"""What every store promises of its journal, as tests; part of `StoreContract`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twingateway.errors import StoreFull
from twingateway.ports.journal import OWN, About, Filing, Told
from twingateway.ports.store import Changes, Store
from twingateway.testing.medium import Medium
from twingateway.twin.entry import EVENT, HISTORY, JournalEntry
from twingateway.twin.identity import DeviceId
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump-1")
#: Where the numbers of journals that are remembered, and told of, are looked up.
MODULES_THAT_FORGET = ("twingateway.ports.memory_journal", "twingateway.store.journal")
OTHER = b"other journal..."


def entry(
    n: int, value: Value = None, *, class_name: str = EVENT, journal_id: bytes = b"", seq: int = 0, name: str = ""
) -> JournalEntry:
    """The n-th entry as the tests need it; one that begins here unless it has a journal id and seq."""
    name = name or f"e{n}"
    return JournalEntry(class_name, "default", "edge", "pump-1", name, 1_000 + n, value, journal_id, seq)


def filed(*entries: JournalEntry, stamp: int = 0, queue: bool = True, keep: bool = False) -> list[Filing]:
    return [Filing(each, stamp, queue, keep) for each in entries]


async def waiting(store: Store, class_name: str = EVENT) -> list[JournalEntry]:
    return [placed.entry for placed in await store.journal_page(class_name, 0, 1 << 30)]


async def seqs(store: Store, class_name: str = EVENT) -> list[tuple[int, int]]:
    return [(each.seq, each.last) for each in await waiting(store, class_name)]


class JournalContract:
    """The tests. Each leaves its stores closed."""

    async def test_entries_wait_in_order_with_seqs_from_1_in_a_journal_of_this_boot(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(entry(1, {"a": [1, 2.5]}), entry(2))))
        await store.commit(Changes(journal=filed(entry(3), entry(4, class_name=HISTORY))))
        boot = store.identity.boot_id
        assert await waiting(store) == [
            replace(entry(n, {"a": [1, 2.5]} if n == 1 else None), journal_id=boot, seq=n) for n in (1, 2, 3)
        ]
        assert await seqs(store, HISTORY) == [(1, 1)]
        await store.close()

    async def test_after_a_crash_what_waited_waits_and_a_new_journal_begins(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(entry(1))))
        await medium.crash(store)
        store = await medium.open()
        await store.commit(Changes(journal=filed(entry(2))))
        first, second = await waiting(store)
        assert (first.name, first.seq, second.name, second.seq) == ("e1", 1, "e2", 1)
        assert first.journal_id != second.journal_id == store.identity.boot_id
        await store.close()

    async def test_pages_go_on_behind_a_position_and_keep_to_the_size(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(*(entry(n, "x" * 100) for n in range(20)))))
        everything = await store.journal_page(EVENT, 0, 1 << 30)
        size = everything[0].size
        assert size > 100
        assert await store.journal_page(EVENT, 0, 5 * size + 1) == everything[:5]
        assert await store.journal_page(EVENT, everything[4].position, 3 * size) == everything[5:8]
        assert await store.journal_page(EVENT, 0, 1) == everything[:1], "one that is too large goes alone"
        assert await store.journal_page(EVENT, everything[-1].position, 1 << 30) == []
        assert await store.journal_page(HISTORY, 0, 1 << 30) == []
        await store.close()

    async def test_what_was_delivered_goes_and_seqs_go_on(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(entry(1), entry(2), entry(3))))
        position = (await store.journal_page(EVENT, 0, 1 << 30))[1].position
        await store.commit(Changes(delivered={EVENT: position}))
        assert await seqs(store) == [(3, 3)]
        await store.commit(Changes(delivered={EVENT: position + 1}, journal=filed(entry(4))))
        assert await seqs(store) == [(4, 4)]
        await store.close()

    async def test_depths_tell_what_waits(self, medium: Medium) -> None:
        store = await medium.open()
        assert await store.journal_depths() == []
        await store.commit(Changes(journal=[*filed(entry(1), stamp=5), *filed(entry(2), stamp=9)]))
        (depth,) = await store.journal_depths()
        sizes = [placed.size for placed in await store.journal_page(EVENT, 0, 1 << 30)]
        assert (depth.class_name, depth.entries, depth.bytes) == (EVENT, 2, sum(sizes))
        assert (depth.oldest, depth.oldest_stamp, depth.newest_stamp) == (1_001, 5, 9)
        await store.commit(Changes(delivered={EVENT: 99}))
        (depth,) = await store.journal_depths()
        assert (depth.entries, depth.bytes, depth.oldest, depth.oldest_stamp) == (0, 0, 0, 0)
        await store.close()

    async def test_each_entry_is_received_once_however_often_it_comes(self, medium: Medium) -> None:
        store = await medium.open()
        entries = [entry(n, n, journal_id=OTHER, seq=n) for n in range(1, 6)]
        assert await store.receive(filed(*entries[:3])) == entries[:3]
        assert await store.receive(filed(*entries[1:4])) == [entries[3]]
        await medium.crash(store)
        store = await medium.open()
        assert await store.receive(filed(*entries, *entries)) == [entries[4]]
        assert await waiting(store) == entries
        foreign = replace(entries[0], namespace="other")
        assert await store.receive(filed(foreign, keep=True, queue=False)) == [foreign], "tenants are apart"
        await store.close()

    async def test_what_is_missing_is_made_a_gap_and_gaps_are_cut_to_what_is_news(self, medium: Medium) -> None:
        store = await medium.open()
        await store.receive(filed(entry(1, journal_id=OTHER, seq=1)))
        taken = await store.receive(filed(entry(4, journal_id=OTHER, seq=4)))
        assert [(each.seq, each.count, each.gap) for each in taken] == [(2, 2, "lost"), (4, 1, "")]
        gap = replace(entry(9, journal_id=OTHER, seq=3), count=5, gap="evicted")
        taken = await store.receive(filed(gap))
        assert [(each.seq, each.last, each.gap) for each in taken] == [(5, 7, "evicted")]
        assert await store.receive(filed(gap)) == []
        await store.close()

    async def test_the_place_in_old_journals_of_a_node_is_forgotten_class_by_class(
        self, medium: Medium, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in MODULES_THAT_FORGET:
            monkeypatch.setattr(f"{module}.MOST_JOURNALS", 3)
        store = await medium.open()

        async def take(journal: int, class_name: str = EVENT, node: str = "edge") -> int:
            came = entry(1, journal_id=bytes([journal]) * 16, seq=1, class_name=class_name)
            return len(await store.receive(filed(replace(came, node=node))))

        assert [await take(n) for n in (1, 2, 3)] == [1, 1, 1]
        assert [await take(1, HISTORY), await take(9, node="another")] == [1, 1], "these do not count"
        assert [await take(n) for n in (1, 2, 3)] == [0, 0, 0]
        await medium.crash(store)
        store = await medium.open()
        assert await take(4) == 1
        assert [await take(n) for n in (4, 3, 2)] == [0, 0, 0]
        assert [await take(1, HISTORY), await take(9, node="another")] == [0, 0]
        assert await take(1) == 1, "the oldest one is not known any more"
        await store.close()

    async def test_how_far_each_journal_was_told_is_known_over_restarts(self, medium: Medium) -> None:
        store = await medium.open()
        first = store.identity.boot_id
        await store.commit(Changes(journal=filed(*(entry(n) for n in range(3)))))
        await store.receive(filed(entry(1, journal_id=OTHER, seq=1), entry(2, journal_id=OTHER, seq=2)))
        assert await store.journal_told("default", EVENT, b"", 9) == [], "it waits still"
        await store.commit(Changes(delivered={EVENT: 4}))
        assert await store.journal_told("default", EVENT, b"", 9) == [Told(first, OWN, 3)]
        await store.commit(Changes(delivered={EVENT: 5}))
        await medium.crash(store)
        store = await medium.open()
        second = store.identity.boot_id
        await store.commit(Changes(journal=filed(entry(4))))
        position = (await store.journal_page(EVENT, 0, 1 << 30))[-1].position
        await store.commit(Changes(delivered={EVENT: position}, journal=filed(entry(5, class_name=HISTORY))))
        told = [Told(first, OWN, 3), Told(second, OWN, 1), Told(OTHER, "edge", 2)]
        told.sort(key=lambda each: each.journal_id)
        assert await store.journal_told("default", EVENT, b"", 9) == told
        assert await store.journal_told("default", EVENT, b"", 2) == told[:2]
        assert await store.journal_told("default", EVENT, told[1].journal_id, 2) == told[2:]
        assert await store.journal_told("other", EVENT, b"", 9) == []
        assert await store.journal_told("default", HISTORY, b"", 9) == []
        await store.commit(Changes(journal=filed(entry(6))))
        assert Told(second, OWN, 1) not in await store.journal_told("default", EVENT, b"", 9)
        await store.close()

    async def test_what_never_waited_was_never_told(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(entry(1), queue=False, keep=True)))
        await store.receive(filed(entry(1, journal_id=OTHER, seq=1), queue=False, keep=True))
        assert await store.journal_told("default", EVENT, b"", 9) == []
        await store.receive(filed(entry(2, journal_id=OTHER, seq=2)))
        await store.receive(filed(entry(3, journal_id=OTHER, seq=3), queue=False, keep=True))
        await store.commit(Changes(delivered={EVENT: 99}))
        assert await store.journal_told("default", EVENT, b"", 9) == [Told(OTHER, "edge", 2)]
        await store.close()

    async def test_a_gap_that_waits_is_not_told(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(*(entry(n) for n in range(4)))))
        assert await store.evict(EVENT, 1 << 30, 1) == 4
        assert await store.journal_told("default", EVENT, b"", 9) == []
        await store.commit(Changes(delivered={EVENT: 99}))
        assert [told.last for told in await store.journal_told("default", EVENT, b"", 9)] == [4]
        await store.close()

    async def test_of_the_newest_journals_of_each_node_is_told(
        self, medium: Medium, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in MODULES_THAT_FORGET:
            monkeypatch.setattr(f"{module}.TOLD_JOURNALS", 2)
        store = await medium.open()
        for node, journals in (("edge", (5, 1, 3)), ("another", (4, 2))):
            for number in journals:
                came = replace(entry(1, journal_id=bytes([number]) * 16, seq=1), node=node)
                await store.receive(filed(came))
        await store.commit(Changes(delivered={EVENT: 99}))
        told = await store.journal_told("default", EVENT, b"", 9)
        assert [each.journal_id[0] for each in told] == [1, 2, 3, 4]
        await store.close()

    async def test_what_was_given_up_for_lost_is_still_taken_once(self, medium: Medium) -> None:
        """A node that moved to another region may have left entries with the former one."""
        store = await medium.open()
        entries = [entry(n, n, journal_id=OTHER, seq=n) for n in range(1, 8)]
        await store.receive(filed(entries[5]))
        await medium.crash(store)
        store = await medium.open()
        assert await store.receive(filed(entries[2])) == [entries[2]]
        assert await store.receive(filed(*entries[:5])) == [*entries[:2], *entries[3:5]]
        assert await store.receive(filed(*entries)) == [entries[6]]
        given_up = replace(entry(9, journal_id=OTHER, seq=8), count=3, gap="expired")
        assert await store.receive(filed(given_up)) == [given_up]
        assert await store.receive(filed(entry(9, journal_id=OTHER, seq=9))) == [], "other gaps are final"
        await store.close()

    async def test_own_gaps_take_as_many_seqs_as_they_stand_for(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(replace(entry(1), count=7, gap="dropped"), entry(2))))
        assert await seqs(store) == [(1, 7), (8, 8)]
        await store.close()

    async def test_too_many_bytes_make_the_oldest_one_gap(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(*(entry(n, "x" * 100) for n in range(10)))))
        (before,) = await store.journal_depths()
        assert await store.evict(EVENT, before.bytes, 0) == 0
        assert await store.evict(EVENT, before.bytes // 2, 0) == 6
        entries = await waiting(store)
        assert [(each.seq, each.last, each.gap) for each in entries] == [
            (1, 6, "evicted"),
            *((n, n, "") for n in range(7, 11)),
        ]
        (depth,) = await store.journal_depths()
        assert depth.entries == 5
        assert depth.bytes == sum(placed.size for placed in await store.journal_page(EVENT, 0, 1 << 30))
        assert await store.evict(EVENT, 100, 0) == 4, "gaps join"
        assert await seqs(store) == [(1, 10)]
        assert await store.evict(EVENT, 1, 0) == 0, "a gap record is never given up"
        await store.close()

    async def test_a_gap_waits_where_the_last_entry_it_stands_for_waited(self, medium: Medium) -> None:
        """So whoever has read beyond the others, but not beyond the last, still finds it."""
        store = await medium.open()
        await store.commit(Changes(journal=filed(*(entry(n) for n in range(4)), stamp=1)))
        places = [placed.position for placed in await store.journal_page(EVENT, 0, 1 << 30)]
        await store.commit(Changes(journal=filed(entry(4), stamp=2)))
        assert await store.evict(EVENT, 1 << 30, 2) == 4
        (gap,) = [placed for placed in await store.journal_page(EVENT, 0, 1 << 30) if placed.entry.gap]
        assert (gap.position, gap.entry.seq, gap.entry.last, gap.entry.gap) == (places[3], 1, 4, "expired")
        await store.commit(Changes(delivered={EVENT: places[1]}))
        assert await seqs(store) == [(1, 4), (5, 5)]
        await store.close()

    async def test_each_journal_gets_a_gap_of_its_own(self, medium: Medium) -> None:
        store = await medium.open()
        mixed = [entry(n, journal_id=bytes([n % 2]) * 16, seq=n // 2 + 1) for n in range(8)]
        await store.receive(filed(*mixed))
        assert await store.evict(EVENT, 1 << 30, 1) == 8
        gaps = [(each.journal_id[0], each.seq, each.last) for each in await waiting(store)]
        assert gaps == [(0, 1, 4), (1, 1, 4)]
        await store.close()

    async def test_what_is_kept_stays_until_it_is_pruned(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(journal=filed(*(entry(n, n) for n in range(5)), queue=False, keep=True)))
        kept = await store.kept_page(EVENT, 0, 100)
        assert [placed.entry.value for placed in kept] == [0, 1, 2, 3, 4]
        assert await waiting(store) == []
        assert await store.kept_page(EVENT, kept[1].position, 2) == kept[2:4]
        assert await store.kept_before(EVENT, None, 2) == [kept[4], kept[3]], "the newest first"
        assert await store.kept_before(EVENT, kept[3].position, 2) == [kept[2], kept[1]]
        assert await store.kept_before(EVENT, kept[1].position, 2) == [kept[0]]
        assert await store.kept_before(EVENT, kept[0].position, 2) == []
        assert await store.prune_kept(EVENT, 2) == 3
        assert await store.prune_kept(EVENT, 2) == 0
        assert await store.kept_page(EVENT, 0, 100) == kept[3:]
        assert await store.kept_before(EVENT, None, 100) == kept[:2:-1]
        await store.close()

    async def test_of_what_is_kept_one_tenants_or_one_devices_can_be_asked_for(self, medium: Medium) -> None:
        store = await medium.open()
        both = [replace(entry(n, n), namespace=("a", "b")[n % 2], device=("x", "y", None)[n % 3]) for n in range(12)]
        await store.commit(Changes(journal=filed(*both, queue=False, keep=True)))

        async def told(about: About) -> list[Value]:
            onward = [placed.entry.value for placed in await store.kept_page(EVENT, 0, 100, about)]
            back = [placed.entry.value for placed in await store.kept_before(EVENT, None, 100, about)]
            assert back == onward[::-1]
            return onward

        assert await told(About("a")) == [0, 2, 4, 6, 8, 10]
        assert await told(About(None, "x")) == [0, 3, 6, 9]
        assert await told(About("b", "y")) == [1, 7]
        assert await told(About("c")) == []
        last = await store.kept_before(EVENT, None, 2, About("a", "x"))
        assert [placed.entry.value for placed in last] == [6, 0]
        rest = await store.kept_page(EVENT, last[-1].position, 1, About("a", "x"))
        assert rest == last[:1]
        await store.close()

    async def test_no_space_keeps_nothing_of_what_was_received(self, medium: Medium) -> None:
        store = await medium.open()
        await store.receive(filed(entry(1, journal_id=OTHER, seq=1)))
        await medium.fill(store)
        bulk = [entry(n, "x" * 60_000, journal_id=OTHER, seq=n) for n in range(2, 40)]
        with pytest.raises(StoreFull):
            await store.receive(filed(*bulk))
        await medium.relieve(store)
        assert await store.receive(filed(*bulk)) == bulk
        await store.close()
