"""A node as an operating-system process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fair_time import PATIENCE


class Process:
    """Started with `start`, ended with `stop` or `kill`, as often as you like; with this `environment` instead of
    ours, and by the program `through`."""

    def __init__(
        self, file: Path, *, environment: Mapping[str, str] | None = None, through: Sequence[str] = ()
    ) -> None:
        self.file = file
        self._environment = environment
        self._through = through
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *self._through, sys.executable, "-m", "twingateway", "run", self.file.name, cwd=self.file.parent,
            stderr=asyncio.subprocess.PIPE, env=self._environment,
        )  # fmt: skip
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            said = b""
            while line := await self._process.stderr.readline():
                said += line
                if line.startswith(b"{") and json.loads(line).get("event") == "ready":
                    self._reading = asyncio.create_task(self._process.stderr.read())
                    return
        raise AssertionError(f"{self.file.name} ended before it was ready: {said.decode()}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """In good order; fails if it does not end like that."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await self._process.wait() == 0
