"""The processes of a measurement: started in a namespace, their CPU time and memory read, ended on every path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_TICK = os.sysconf("SC_CLK_TCK")
#: Seconds that a process has to end after SIGTERM.
PATIENCE = 5.0
#: The folder that holds `interop` and `twingateway`.
ROOT = Path(__file__).resolve().parent.parent


class Died(RuntimeError):
    """A process ended that was to go on; the first line says which, the others are the last that it wrote."""

    def __init__(self, name: str, status: int, tail: str) -> None:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"{name} {how}\n{tail}".rstrip())


class Running:
    """One process, with all it writes in the file `log`."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self.log = log
        self._is_to_end = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def require_running(self) -> None:
        if self._process.returncode is not None:
            raise Died(self.log.stem, self._process.returncode, self.tail())

    async def death(self) -> Died | None:
        """Wait for the end; None if that was asked for."""
        status = await self._process.wait()
        return None if self._is_to_end else Died(self.log.stem, status, self.tail())

    def kill(self) -> None:
        self._is_to_end = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Not by the process object: that would take its status away from the one who waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._is_to_end = True
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
        await self._process.wait()


class Processes:
    """All of one measurement; an asynchronous context manager that ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[Running] = []
        self._watching: list[asyncio.Task[None]] = []
        self._death: asyncio.Future[Died] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Processes:
        return self

    async def __aexit__(self, *_: object) -> None:
        for running in reversed(self._running):
            await running.end()
        for watching in self._watching:
            watching.cancel()

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """What this work comes to. Raises Died as soon as any of the processes ends though nobody asked it to."""
        working = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {working, self._death}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not working.cancelled() and working.exception() is not None:
                await asyncio.wait({self._death}, timeout=0.5)  # whose end may be what it failed of
            if self._death.done():
                raise self._death.result()
            return working.result()
        finally:
            working.cancel()
            await asyncio.wait({working})

    async def _watch(self, running: Running) -> None:
        death = await running.death()
        if death is not None and not self._death.done():
            self._death.set_result(death)

    def save_logs(self, folder: Path | None, prefix: str) -> None:
        """Copy what all of them have written into `folder`, if there is one."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            (folder / f"{prefix}-{log.name}").write_bytes(log.read_bytes())

    async def start(self, name: str, command: Sequence[str], *, path: Sequence[str] = ()) -> Running:
        """`path`: folders to add to where Python looks for packages."""
        log = self.folder / f"{name}.log"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([*path, str(ROOT)])}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        running = Running(process, log)
        self._running.append(running)
        self._watching.append(asyncio.create_task(self._watch(running)))
        return running

    async def start_module(self, name: str, inside: Sequence[str], module: str, *arguments: str) -> Running:
        return await self.start(name, [*inside, sys.executable, "-m", module, *arguments])
