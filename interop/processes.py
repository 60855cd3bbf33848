"""The processes of a measurement: started in a namespace, their CPU time and memory read, ended on every path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
#: Seconds that a process has to end after SIGTERM.
PATIENCE = 5.0
#: The folder that holds `interop` and `twingateway`.
ROOT = Path(__file__).resolve().parent.parent


class Running:
    """One process, with all it writes in the file `log`."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self.log = log

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
            raise RuntimeError(f"{self.log.stem} ended with status {self._process.returncode}:\n{self.tail()}")

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Not by the process object: that would take its status away from the one who waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def end(self) -> None:
        if self._process.returncode is None:
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

    async def __aenter__(self) -> Processes:
        return self

    async def __aexit__(self, *_: object) -> None:
        for running in reversed(self._running):
            await running.end()

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
        return running

    async def start_module(self, name: str, inside: Sequence[str], module: str, *arguments: str) -> Running:
        return await self.start(name, [*inside, sys.executable, "-m", module, *arguments])
