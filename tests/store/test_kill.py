"""A process killed while it writes: what its commits returned from is there, and no number is issued twice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.fair_time import PATIENCE
from twingateway.store.sqlite import open_store
from twingateway.testing.store_contract import held

WRITER = """
import asyncio, sys
from pathlib import Path
from twingateway.ports.store import Changes
from twingateway.store.sqlite import open_store
from twingateway.testing.store_contract import stored

async def main():
    store = await open_store(Path(sys.argv[1]))

    async def write(worker):
        while True:
            for seq in await store.reserve(5):
                print("number", seq, flush=True)
                await store.commit(Changes(registers=[stored(f"w{worker}-{seq % 40}", seq, seq, seq)]))
                print("durable", worker, seq, flush=True)

    await asyncio.gather(*map(write, range(4)))

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_lost_and_no_number_is_issued_twice(tmp_path: Path):
    path = tmp_path / "node.db"
    numbers: set[int] = set()
    durable: dict[str, int] = {}
    for kill in range(10):
        output = tmp_path / f"out{kill}"
        with output.open("wb") as stdout:
            process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=stdout)
            deadline = time.monotonic() + PATIENCE
            while output.stat().st_size < 500 + 700 * kill and time.monotonic() < deadline:
                time.sleep(0.002)
            process.kill()
            process.wait()
        *lines, _torn = output.read_text().split("\n")
        assert lines
        for word, *fields in map(str.split, lines):
            if word == "number":
                assert int(fields[0]) not in numbers
                numbers.add(int(fields[0]))
            else:
                name = f"w{fields[0]}-{int(fields[1]) % 40}"
                durable[name] = max(durable.get(name, 0), int(fields[1]))
        store = await open_store(path)
        found = await held(store)
        for name, seq in durable.items():
            assert found[name].register.version.seq >= seq
            assert found[name].register.value == found[name].register.version.seq
        (fresh,) = await store.reserve(1)
        assert fresh > max(numbers)
        numbers.add(fresh)
        await store.close()
    assert len(durable) > 10
