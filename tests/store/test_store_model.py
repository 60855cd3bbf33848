"""Random histories against a dictionary, for both stores."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twingateway.ports.memory_store import MemoryDisk, MemoryStore
from twingateway.ports.store import Changes, Removal, Store
from twingateway.store.sqlite import open_store
from twingateway.twin.identity import DeviceId
from twingateway.twin.register import Register, RegisterKey, Section, StoredRegister, Version

keys = st.builds(
    RegisterKey,
    st.sampled_from([DeviceId("default", "a"), DeviceId("default", "b"), DeviceId("x", "a")]),
    st.sampled_from([Section.REPORTED, Section.DESIRED]),
    st.sampled_from(["speed", "é\0", ""]),
)
versions = st.builds(Version, st.integers(0, 1), st.integers(0, 2), st.integers(0, 3))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
registers = st.builds(
    StoredRegister,
    st.builds(Register, keys, versions, values, st.integers(0, 2**42)),
    st.integers(1, 2**40),
)
changes = st.builds(
    Changes,
    registers=st.lists(registers, max_size=4),
    forget=st.lists(st.builds(Removal, keys, versions), max_size=1),
)
steps = st.lists(
    st.tuples(st.just("commit"), changes)
    | st.tuples(st.just("reserve"), st.integers(1, 9))
    | st.tuples(st.just("reopen"), st.none()),
    max_size=8,
)


class Oracle:
    """What must be there, said as simply as possible."""

    def __init__(self) -> None:
        self.content: dict[RegisterKey, Register] = {}
        self.lsns: dict[RegisterKey, int] = {}
        self.reserved = 0
        self.floor = 0

    def commit(self, changes: Changes) -> None:
        for entry in changes.registers:
            key = entry.register.key
            old = self.content.get(key)
            if old is None or entry.register.version > old.version:
                self.content[key] = entry.register
            self.lsns[key] = max(entry.lsn, self.lsns.get(key, 0))
        for removal in changes.forget:
            held = self.content.get(removal.key)
            if held is not None and held.version <= removal.version:
                del self.content[removal.key]
                self.floor = max(self.floor, self.lsns.pop(removal.key))

    def is_fresh(self, numbers: range) -> bool:
        before, self.reserved = self.reserved, numbers[-1]
        return numbers[0] > before


async def play(history: list[tuple[str, Any]], open_again: Any) -> None:
    oracle, store = Oracle(), await open_again()
    for word, argument in history:
        if word == "commit":
            oracle.commit(argument)
            await store.commit(argument)
        elif word == "reserve":
            numbers = await store.reserve(argument)
            assert len(numbers) == argument
            assert oracle.is_fresh(numbers)
        else:
            await store.close()
            store = await open_again()
    snapshot = await store.load()
    assert snapshot.floor == oracle.floor
    found = {entry.register.key: entry for entry in snapshot.registers}
    assert {key: entry.register for key, entry in found.items()} == oracle.content
    assert {key: entry.lsn for key, entry in found.items()} == oracle.lsns
    await store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_any_history_ends_as_a_dictionary_says(kind: str, history: list[tuple[str, Any]]):
    with tempfile.TemporaryDirectory() as directory:
        disk = MemoryDisk()

        async def open_again() -> Store:
            return MemoryStore(disk) if kind == "memory" else await open_store(Path(directory) / "node.db")

        asyncio.run(play(history, open_again))
