"""Debian's mbpoll (which is libmodbus) as a client of `twingateway modbus simulate`, over TCP and over RTU."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

_PATIENCE = 20.0
_PROFILE = """\
apiVersion: edge.iot.org/v1
kind: DeviceProfile
metadata: {name: cells}
spec:
  adapter: modbus
  properties:
    holding: {table: holding, address: 0, type: uint16, count: 8, writable: true}
    level: {table: holding, address: 8, type: float32, order: CDAB, writable: true}
    total: {table: holding, address: 10, type: int32, order: CDAB, writable: true}
    input: {table: input, address: 0, type: uint16, count: 4}
    coils: {table: coil, address: 0, count: 12, writable: true}
    contacts: {table: discrete, address: 0, count: 10}
  tests:
  - name: start
    registers:
      holding: {0: "0000 0001 0002 0003 0004 0005 0006 0007", 8: "0000 41BC", 10: "FFFE FFFF"}
      input: {0: "000A 0014 001E 8000"}
      coil: {0: "010101010101"}
      discrete: {0: "1001001001"}
    expect: {total: -2}
"""
#: What is asked for (type, first address, count), what is written first, and what it then shows.
_ASKED: list[tuple[tuple[str, int, int], list[str], list[str]]] = [
    (("3", 0, 4), [], ["10", "20", "30", "32768 (-32768)"]),
    (("1", 0, 10), [], ["1", "0", "0"] * 3 + ["1"]),
    (("0", 0, 12), [], ["0", "1"] * 6),
    (("4", 0, 8), [], [str(number) for number in range(8)]),
    (("4:float", 8, 1), [], ["23.5"]),
    (("4:int", 10, 1), [], ["-2"]),
    (("4", 3, 1), ["65535"], ["65535 (-1)"]),
    (("4", 4, 3), ["300", "0", "301"], ["300", "0", "301"]),
    (("0", 4, 1), ["1"], ["1"]),
    (("0", 0, 11), ["1"] * 9 + ["0", "1"], ["1"] * 9 + ["0", "1"]),
    (("4:float", 8, 1), ["-1.25"], ["-1.25"]),
    (("4:int", 10, 1), ["70000"], ["70000"]),
    (("4", 90, 1), [], ["Illegal data address"]),
    (("4", 90, 1), ["7"], ["Illegal data address"]),
]
_VALUE = re.compile(r"^\[\d+\]:\s+(.*?)\s*$", re.MULTILINE)
_REFUSAL = re.compile(r"failed: (.*)")


async def run() -> list[str]:
    """What differs from what it should be."""
    with tempfile.TemporaryDirectory(prefix="modbus-peer-") as folder:
        profile = Path(folder) / "cells.yaml"
        profile.write_text(_PROFILE)
        found = []
        for transport in ("tcp", "rtu"):
            found += [f"{transport}: {each}" for each in await _poll(profile, transport)]
        return found


async def _poll(profile: Path, transport: str) -> list[str]:
    simulator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "twingateway", "modbus", "simulate", str(profile), "--test", "start", "--port", "0",
        "--units", "3", "--transport", transport, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            where = (await simulator.stdout.readline()).decode().split()[-1]
            line = ["-m", "rtu", "-b", "19200", "-P", "even", "--", where]
            if transport == "tcp":
                host, _, port = where.partition(":")
                line = ["-m", "tcp", "-p", port, "--", host]
            return [each for asked in _ASKED for each in await _compare(line, *asked)]
    finally:
        simulator.kill()
        await simulator.wait()


async def _compare(line: list[str], at: tuple[str, int, int], write: list[str], expected: list[str]) -> list[str]:
    """A write, if there is one, and a read; `line`: how to get there."""
    kind, first, count = at
    ask = ["-a", "3", "-0", "-1", "-q", "-t", kind, "-r", str(first), *line]
    said = await _mbpoll(*ask, *write) if write else ""
    said += await _mbpoll("-c", str(count), *ask)
    refusals = _REFUSAL.findall(said)
    if write and not refusals and "Written" not in said:
        return [f"writing {write} to {at}: {said.strip()}"]
    shown = sorted(set(refusals)) if refusals else _VALUE.findall(said)
    return [] if shown == expected else [f"{at}: {shown} instead of {expected}"]


async def _mbpoll(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "mbpoll", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return said.decode(errors="replace")
