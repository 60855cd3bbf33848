"""libmodbus as a server under this adapter, over TCP and over a serial line (two pseudo-terminals joined).

Its few lines of C are compiled when they are needed; gcc and libmodbus's headers have to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import tty
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from interop.modbus_adapter_check import differences_of

_SOURCE = Path(__file__).with_name("modbus_peer.c")
HEADER = Path("/usr/include/modbus/modbus.h")
_PATIENCE = 15.0


class Line:
    """A serial line as a pair of pseudo-terminals: what is written to one of `ends` can be read at the other."""

    def __init__(self) -> None:
        self._files: list[int] = []
        self.ends: list[str] = []
        for _ in range(2):
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            self._files += [ours, theirs]
            self.ends.append(os.ttyname(theirs))

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        one, _, other, _ = self._files
        loop.add_reader(one, self._carry, one, other)
        loop.add_reader(other, self._carry, other, one)
        return self

    def _carry(self, source: int, target: int) -> None:
        os.write(target, os.read(source, 4096))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for file in self._files:
            loop.remove_reader(file)
            os.close(file)


async def run() -> list[str]:
    """What differs from what it should be."""
    with tempfile.TemporaryDirectory(prefix="modbus-peer-") as folder:
        program = Path(folder) / "peer"
        compiler = await asyncio.create_subprocess_exec(
            "gcc", "-O1", "-Wall", "-Werror", f"-I{HEADER.parent}", str(_SOURCE), "-o", str(program), "-lmodbus"
        )
        if await compiler.wait():
            return ["libmodbus's server could not be compiled"]
        found = [f"tcp: {each}" for each in await _serve(program, "tcp")]
        with Line() as line:
            ours, theirs = line.ends
            found += [f"rtu: {each}" for each in await _serve(program, theirs, ours)]
    return found


async def _serve(program: Path, where: str, device: str = "") -> list[str]:
    """`device`: our end of the line; over TCP the server names its port."""
    peer = await asyncio.create_subprocess_exec(str(program), where, stdout=asyncio.subprocess.PIPE)
    assert peer.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            port = int(await peer.stdout.readline() or b"0")
            address: dict[str, Any] = {"host": "127.0.0.1", "port": port}
            if device:
                address = {"transport": "rtu", "serial": {"port": device}}
            return await differences_of(address, more=True)
    finally:
        with contextlib.suppress(ProcessLookupError):
            peer.kill()
        await peer.wait()
