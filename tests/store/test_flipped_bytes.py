"""Any byte of the file is another one: it is noticed, or makes no difference; never is a wrong value read.

One store with rows of every kind; then one byte after the other is flipped, the store opened and everything in it
read. The suite takes a sample: the head, and of the rest a stride through all pages. `TWINGATEWAY_FLIPS=all pytest
tests/store/test_flipped_bytes.py -n 2` flips every byte that is not zero, and some of the zeros (minutes).
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter as Tally
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.power_cut import fast_folder
from twingateway.errors import StoreCorrupt
from twingateway.ports.journal import Span
from twingateway.ports.store import Attempt, Changes, PeerRecord, StoredModel
from twingateway.store import identity
from twingateway.store.sqlite import SqliteStore, open_store
from twingateway.testing.journal_contract import EVENT, HISTORY, OTHER, PUMP, entry, filed
from twingateway.testing.store_contract import stored
from twingateway.twin.register import Version

ALL = os.environ.get("TWINGATEWAY_FLIPS") == "all"
PARTS = 8 if ALL else 1
STRIDE, STRIDE_OF_ZEROS = (1, 17) if ALL else (61, 4001)
HEAD = 100
pytestmark = pytest.mark.timeout(3600 if ALL else 1800)
SPAN = Span(PUMP, "flow", 0, 1 << 50)


async def fill(path: Path) -> None:
    """A closed store with something in each of its tables."""
    store = await open_store(path)
    await store.reserve(1000)
    points = [
        replace(entry(n, value, class_name=HISTORY, name="flow"), time=1_000 + n)
        for n, value in enumerate([1, 2.5, "three", [4], None, True, -6, 1e300] * 3)
    ]
    await store.commit(
        Changes(
            registers=[stored(f"r{n}", n, n, f"value {n}") for n in range(1, 20)],
            peers=[PeerRecord("edge", b"s" * 16, 4, b"b" * 16, 5)],
            models=[StoredModel("default", "pump@1", "ab" * 32, '{"kind":"DeviceModel"}')],
            attempts=[Attempt(PUMP, "r3", Version(1, 1, 3))],
            journal=[*filed(*(entry(n, {"text": n}) for n in range(9)), keep=True), *filed(*points, keep=True)],
        )
    )
    await store.receive(filed(*(entry(n, n, journal_id=OTHER, seq=n) for n in (1, 2, 7, 8))))
    await store.close()


async def everything(store: SqliteStore) -> dict[str, Any]:
    """What can be read of it, and what it makes of what it is told again."""
    snapshot = await store.load()
    page = await store.journal_page(EVENT, 0, 1 << 30)
    again = [entry(n, n, journal_id=OTHER, seq=n) for n in (1, 2, 3, 7, 8, 9)]
    return {
        "store": store.identity.store_id,
        "snapshot": replace(snapshot, boots={key: snapshot.boots[key] for key in list(snapshot.boots)[:0]}),
        "boots": sorted(snapshot.boots.values()),
        "queue": page,
        "history queue": await store.journal_page(HISTORY, 0, 1 << 30),
        "kept": await store.kept_page(EVENT, 0, 1000),
        "points": await store.points(SPAN, (-1, 0), 1000),
        "buckets": await store.buckets(SPAN, 5, 1000),
        "newest": await store.last_point(SPAN.device, SPAN.name),
        "series": await store.series(),
        "depths": await store.journal_depths(),
        "history": await store.history_bytes(),
        "received": await store.receive(filed(*again)),
        "evicted": await store.evict(EVENT, 1, 0),
        "gaps": await store.journal_page(EVENT, 0, 1 << 30),
        "numbers": await store.reserve(1),
    }


async def seen(path: Path) -> dict[str, Any]:
    store = await open_store(path)
    try:
        return await everything(store)
    finally:
        await store.close()


def offsets(content: bytes) -> list[int]:
    filled = [n for n in range(HEAD, len(content)) if content[n]]
    zeros = [n for n in range(HEAD, len(content)) if not content[n]]
    return [*range(HEAD), *filled[::STRIDE], *zeros[::STRIDE_OF_ZEROS]]


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_flipped_byte_makes_a_wrong_value(tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity, "passed_over", lambda boot_id: 7)
    await fill(tmp_path / "node.db")
    content = (tmp_path / "node.db").read_bytes()
    right = await seen(tmp_path / "node.db")
    tally: Tally[str] = Tally()
    wrong: list[str] = []
    with fast_folder() as folder:
        for number, offset in enumerate(offsets(content)[part::PARTS]):
            flip = (0x01, 0x80, 0x10, 0xFF)[number % 4]
            byte = bytes([content[offset] ^ flip])
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "node.db").write_bytes(content[:offset] + byte + content[offset + 1 :])
            try:
                found = await seen(folder / "node.db")
            except StoreCorrupt:
                tally["noticed"] += 1
                continue
            except Exception as error:
                found = {"error": f"{type(error).__name__}: {error}"}
            different = [name for name in right if found.get(name) != right[name]]
            tally["wrong" if different else "no difference"] += 1
            wrong += [f"byte {offset} ^ {flip:#04x}: {found.get(name, found)!r}"[:300] for name in different[:1]]
    logging.getLogger(__name__).warning("%s", dict(tally))
    assert not wrong, "\n".join(wrong[:20])
    assert tally["noticed"] > tally["no difference"] / 4, tally
