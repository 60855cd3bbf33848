"""What every store promises, as tests: derive a test class from `StoreContract` and override its `medium` fixture."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from twingateway.errors import StoreError, StoreFull
from twingateway.ports.store import Attempt, Changes, PeerRecord, Removal, Store, StoredModel
from twingateway.testing.history_contract import HistoryContract
from twingateway.testing.journal_contract import JournalContract
from twingateway.testing.medium import Medium
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version
from twingateway.twin.value import Value

PUMP = DeviceId("default", "pump-1")


def stored(
    name: str,
    seq: int,
    lsn: int,
    value: Value = 1.5,
    *,
    device: DeviceId = PUMP,
    section: Section = Section.REPORTED,
    epoch: int = 1,
    incarnation: int = 1,
) -> StoredRegister:
    """A register as the tests need them."""
    key = RegisterKey(device, section, name)
    return StoredRegister(Register(key, Version(incarnation, epoch, seq), value, 1_700_000_000_000 + seq), lsn)


def bulk() -> Changes:
    """Two megabytes that no almost full medium takes."""
    return Changes(registers=[stored(f"bulk{n}", n + 1, n + 1, "x" * 60_000) for n in range(35)])


def removal(gone: StoredRegister) -> Removal:
    return Removal(gone.register.key, gone.register.version)


async def held(store: Store) -> dict[str, StoredRegister]:
    """What a store has, by name."""
    return {entry.register.key.name: entry for entry in (await store.load()).registers}


class StoreContract(JournalContract, HistoryContract):
    """The tests. Each leaves its stores closed."""

    @pytest.fixture
    def medium(self) -> Iterator[Medium]:
        raise NotImplementedError("a store's tests say where it keeps things")

    async def test_a_new_store_is_empty(self, medium: Medium) -> None:
        store = await medium.open()
        snapshot = await store.load()
        assert (snapshot.registers, dict(snapshot.peers), snapshot.models, snapshot.attempts) == ([], {}, [], [])
        assert dict(snapshot.boots) == {store.identity.boot_id: 0}
        await store.close()

    async def test_everything_committed_is_there_after_opening_again(self, medium: Medium) -> None:
        changes = Changes(
            registers=[stored("speed", 7, 3), stored("speed", 8, 4, section=Section.DESIRED)],
            peers=[PeerRecord("edge-1", b"s" * 16, 9, b"b" * 16, 12), PeerRecord("edge-2", b"t" * 16)],
            models=[StoredModel("default", "pump@1", "ab12", '{"kind":"DeviceModel"}')],
            attempts=[Attempt(PUMP, "speed", Version(1, 1, 8))],
        )
        store = await medium.open()
        await store.commit(changes)
        await store.close()
        store = await medium.open()
        snapshot = await store.load()
        assert sorted(snapshot.registers, key=lambda entry: entry.lsn) == changes.registers
        assert snapshot.peers == {peer.peer: peer for peer in changes.peers}
        assert snapshot.models == changes.models
        assert snapshot.attempts == changes.attempts
        await store.close()

    async def test_everything_committed_is_there_after_a_crash(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("speed", 1, 1)]))
        await medium.crash(store)
        store = await medium.open()
        assert await held(store) == {"speed": stored("speed", 1, 1)}
        await store.close()

    @pytest.mark.parametrize(
        "value",
        [
            None, True, False, 0, -(2**53) + 1, 2**53 - 1, 0.1, -0.0, 1.0, 1e300, 5e-324, "", "snow ☃ \U0001f600 \0",
            [], {}, [1, 1.0, [None]], {"b": 1, "a": {"c": [True]}},
        ],
    )  # fmt: skip
    async def test_a_value_returns_as_it_was(self, medium: Medium, value: Value) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("v", 1, 1, value)]))
        returned = (await held(store))["v"].register.value
        assert (returned, repr(returned)) == (value, repr(value)) or (isinstance(value, dict) and returned == value)
        await store.close()

    async def test_later_changes_to_a_committed_list_do_not_reach_the_store(self, medium: Medium) -> None:
        store = await medium.open()
        value: list[Value] = [1]
        await store.commit(Changes(registers=[stored("v", 1, 1, value)]))
        value.append(2)
        assert (await held(store))["v"].register.value == [1]
        await store.close()

    @pytest.mark.parametrize("older", [Version(1, 1, 4), Version(1, 0, 9), Version(0, 9, 9)])
    async def test_a_lower_version_never_replaces_a_higher(self, medium: Medium, older: Version) -> None:
        store = await medium.open()
        newest = stored("speed", 5, 10, "newest")
        await store.commit(Changes(registers=[newest]))
        late = stored("speed", older.seq, 11, "old", epoch=older.epoch, incarnation=older.incarnation)
        await store.commit(Changes(registers=[late]))
        assert (await held(store))["speed"] == StoredRegister(newest.register, 11)
        await store.close()

    async def test_within_one_commit_the_greatest_version_wins(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("speed", 2, 1, "new"), stored("speed", 1, 2, "old")]))
        assert (await held(store))["speed"] == StoredRegister(stored("speed", 2, 0, "new").register, 2)
        await store.close()

    async def test_a_register_moves_to_a_fresh_lsn_and_never_back(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("speed", 5, 10)]))
        await store.commit(Changes(registers=[stored("speed", 5, 20)]))
        await store.commit(Changes(registers=[stored("speed", 5, 15)]))
        assert (await held(store))["speed"] == stored("speed", 5, 20)
        await store.commit(Changes(registers=[stored("speed", 6, 18)]))
        assert (await held(store))["speed"] == stored("speed", 6, 20)
        await store.close()

    async def test_namespaces_and_sections_are_apart(self, medium: Medium) -> None:
        store = await medium.open()
        twins = [
            stored("speed", 1, 1, "a"),
            stored("speed", 1, 2, "b", section=Section.DESIRED),
            stored("speed", 1, 3, "c", device=DeviceId("other", "pump-1")),
        ]
        await store.commit(Changes(registers=twins))
        assert sorted((await store.load()).registers, key=lambda entry: entry.lsn) == twins
        await store.close()

    async def test_later_records_of_peers_models_and_attempts_replace_earlier(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(
            Changes(
                peers=[PeerRecord("edge-1", b"old", 9), PeerRecord("edge-1", b"new", 1)],
                models=[StoredModel("default", "pump@1", d, "{}") for d in ("one", "two")],
                attempts=[Attempt(PUMP, "speed", Version(1, 1, seq)) for seq in (1, 2)],
            )
        )
        snapshot = await store.load()
        assert snapshot.peers == {"edge-1": PeerRecord("edge-1", b"new", 1)}
        assert snapshot.models == [StoredModel("default", "pump@1", "two", "{}")]
        assert snapshot.attempts == [Attempt(PUMP, "speed", Version(1, 1, 2))]
        await store.close()

    async def test_forgetting_a_desired_register_takes_its_attempt_with_it(self, medium: Medium) -> None:
        store = await medium.open()
        desired = [stored(name, 1, n, section=Section.DESIRED) for n, name in enumerate(("keep", "drop"))]
        attempts = [Attempt(PUMP, name, Version(1, 1, 1)) for name in ("keep", "drop")]
        await store.commit(Changes(registers=desired, attempts=attempts))
        await store.commit(Changes(forget=[removal(desired[1]), removal(stored("keep", 9, 9))]))
        snapshot = await store.load()
        assert (snapshot.registers, snapshot.attempts) == (desired[:1], attempts[:1])
        await store.close()

    async def test_a_forgotten_register_may_return_with_any_version(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("speed", 5, 1)]))
        await store.commit(Changes(forget=[removal(stored("speed", 5, 1))]))
        await store.commit(Changes(registers=[stored("speed", 3, 2)]))
        assert await held(store) == {"speed": stored("speed", 3, 2)}
        await store.close()

    async def test_what_was_written_again_meanwhile_is_not_removed(self, medium: Medium) -> None:
        store = await medium.open()
        old, new = stored("speed", 5, 1), stored("speed", 6, 2)
        await store.commit(Changes(registers=[new], forget=[removal(old)]))
        await store.commit(Changes(forget=[removal(old)]))
        assert await held(store) == {"speed": new}
        await store.close()

    async def test_what_was_removed_leaves_no_gap(self, medium: Medium) -> None:
        store = await medium.open()
        await store.reserve(100)
        await store.commit(Changes(registers=[stored("speed", 1, 5), stored("flow", 2, 9)]))
        await store.commit(Changes(forget=[removal(stored("flow", 2, 9)), removal(stored("none", 2, 90))]))
        assert (await store.load()).floor == 9
        await medium.crash(store)
        store = await medium.open()
        snapshot = await store.load()
        ((below, upto),) = snapshot.gaps
        assert below == 9, "a peer may have been told of lsn 9"
        assert upto > 100
        assert snapshot.floor == 9
        await store.close()

    async def test_reserved_numbers_never_overlap(self, medium: Medium) -> None:
        store = await medium.open()
        ranges = await asyncio.gather(*(store.reserve(n) for n in (1, 5, 100, 7)))
        await medium.crash(store)
        store = await medium.open()
        numbers = sorted(number for block in ranges for number in block)
        assert [len(block) for block in ranges] == [1, 5, 100, 7]
        assert numbers == list(range(1, 114))
        assert min(await store.reserve(10)) > 113, "a restart continues behind what was reserved"
        await store.close()

    async def test_each_opening_begins_somewhere_else(self, medium: Medium) -> None:
        """So that what an older copy of the store issues is told from what the store itself did."""
        begins = []
        for _ in range(3):
            store = await medium.open()
            begins.append((await store.reserve(10)).start)
            await store.commit(Changes(registers=[stored("speed", begins[-1], begins[-1])]))
            await medium.crash(store)
        store = await medium.open()
        gaps = list((await store.load()).gaps)
        await store.close()
        assert begins[0] == 1
        assert [upto + 1 for _, upto in gaps[:2]] == begins[1:]
        assert begins[2] - begins[1] != begins[1] - begins[0]

    async def test_reserving_nothing_is_a_mistake_of_the_caller(self, medium: Medium) -> None:
        store = await medium.open()
        with pytest.raises(ValueError):
            await store.reserve(0)
        await store.close()

    async def test_each_boot_is_kept_with_the_highest_lsn_it_can_have_told(self, medium: Medium) -> None:
        store = await medium.open()
        first = store.identity
        await store.reserve(100)
        await medium.crash(store)
        store = await medium.open()
        second, ((_, upto),) = store.identity, (await store.load()).gaps
        assert (await store.load()).boots == {first.boot_id: 100, second.boot_id: upto}
        await store.reserve(50)
        assert (await store.load()).boots == {first.boot_id: 100, second.boot_id: upto + 50}
        assert second.store_id == first.store_id
        assert second.boot_id != first.boot_id
        await store.close()

    async def test_a_renewed_identity_knows_only_the_present_boot(self, medium: Medium) -> None:
        store = await medium.open()
        await store.reserve(10)
        await store.commit(Changes(registers=[stored("speed", 1, 1)]))
        await store.close()
        store = await medium.open()
        before, gaps = store.identity, (await store.load()).gaps
        renewed = await store.renew_identity()
        assert renewed == store.identity
        assert renewed.store_id != before.store_id
        assert renewed.boot_id == before.boot_id
        assert (await store.load()).boots == {renewed.boot_id: gaps[0][1]}
        assert (await store.load()).gaps == gaps, "what it issued stays known"
        await store.close()
        store = await medium.open()
        assert store.identity.store_id == renewed.store_id
        assert await held(store) == {"speed": stored("speed", 1, 1)}
        await store.close()

    async def test_a_cancelled_commit_harms_no_other(self, medium: Medium) -> None:
        store = await medium.open()
        commits = [asyncio.create_task(store.commit(Changes(registers=[stored(f"r{n}", 1, n)]))) for n in range(30)]
        await asyncio.sleep(0)
        for task in commits[::3]:
            task.cancel()
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert [outcome for n, outcome in enumerate(outcomes) if n % 3] == [None] * 20
        assert {f"r{n}" for n in range(30) if n % 3} <= set(await held(store))
        await store.commit(Changes(registers=[stored("after", 1, 99)]))
        assert "after" in await held(store)
        await store.close()

    async def test_closing_finishes_what_was_begun(self, medium: Medium) -> None:
        store = await medium.open()
        commits = [asyncio.create_task(store.commit(Changes(registers=[stored(f"r{n}", 1, n)]))) for n in range(20)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*commits)
        store = await medium.open()
        assert len(await held(store)) == 20
        await store.close()

    async def test_no_space_refuses_writes_and_goes_on_reading(self, medium: Medium) -> None:
        store = await medium.open()
        await store.commit(Changes(registers=[stored("speed", 1, 1)]))
        await medium.fill(store)
        with pytest.raises(StoreFull):
            await store.commit(bulk())
        assert await held(store) == {"speed": stored("speed", 1, 1)}
        await medium.relieve(store)
        await store.commit(bulk())
        assert len(await held(store)) == 36
        await store.close()

    async def test_a_second_opener_is_refused(self, medium: Medium) -> None:
        store = await medium.open()
        with pytest.raises(StoreError, match="in use"):
            await medium.open()
        await store.commit(Changes(registers=[stored("speed", 1, 1)]))
        await store.close()

    async def test_a_closed_store_refuses_writes(self, medium: Medium) -> None:
        store = await medium.open()
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.commit(Changes(registers=[stored("speed", 1, 1)]))
        with pytest.raises(StoreError, match="closed"):
            await store.reserve(1)
