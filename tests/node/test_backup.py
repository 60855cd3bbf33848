"""A backup made of a running node, put back after more has happened: noticed, and made whole by the other end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.node.test_corrupt import site, state, times_kept, until
from twingateway.store.backup import back_up


def is_settled(twin: Any) -> bool:
    """Everything that was wanted, and what the device reported last."""
    reported, wanted = twin["spec"]["reportedProperties"], {"r1": 41, "r2": 5}
    has_all = twin["spec"]["desiredProperties"] == wanted and {**reported, **wanted} == reported
    return has_all and reported["r0"] == 8 and all(state(twin, name) == "applied" for name in wanted)


@pytest.mark.parametrize("side", ["cloud", "edge"])
async def test_what_a_backup_lacks_comes_back_from_the_other_end(tmp_path: Path, side: str) -> None:
    async with site(tmp_path) as (cloud, edge, device, url):
        node = cloud if side == "cloud" else edge
        await asyncio.to_thread(back_up, node.store, tmp_path / "copy")

        device.registers[0] = 8
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.patch(url, json={"spec": {"desiredProperties": {"r2": 5}}})
            assert answer.status_code in (200, 202)
        await until(url, is_settled)

        await node.stop()
        for name in ("-wal", "-shm"):
            node.store.with_name(f"{node.store.name}{name}").unlink(missing_ok=True)
        (tmp_path / "copy").replace(node.store)
        await node.start()
        assert await times_kept(cloud, "store-rolled-back") == 1
        await until(url, is_settled)
        assert device.written == [(1, 41), (2, 5)], "and nothing is done again"
