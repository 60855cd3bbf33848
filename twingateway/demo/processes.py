"""The demo's child processes: started, spoken to line by line, watched, and ended on every path.

Every child's stderr goes to a file of its name. Children have a session of their own, so that Ctrl-C reaches the demo
alone, and each ends by itself when its stdin does, so that none outlives a demo that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twingateway.demo.failure import DemoFailed

#: Seconds until a child has to be ready, to have answered a command, and to have ended after it was told to.
READY, ANSWER, END = 30.0, 10.0, 6.0
#: Lines of a child's log that are shown when it fails.
SHOWN = 15


class Child:
    """One child process; its module prints one JSON line when it is ready and one for each command."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.log = log
        self.process = process
        self._turn = asyncio.Lock()

    async def ready(self) -> dict[str, Any]:
        """What it says first."""
        return await self._answer(READY)

    async def ask(self, command: str) -> dict[str, Any]:
        """Raises DemoFailed when it does not answer, or answers with an error."""
        assert self.process.stdin is not None
        async with self._turn:
            self.process.stdin.write(f"{command}\n".encode())
            answer = await self._answer(ANSWER)
        if "error" in answer:
            raise DemoFailed(f"{self.name}: {answer['error']}")
        return answer

    async def _answer(self, timeout: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise DemoFailed(f"{self.name} said nothing for {timeout:g} s\n{self.tail()}") from None
        if not line:
            raise DemoFailed(f"{self.name} ended\n{self.tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line[:400]}" for line in lines[-SHOWN:])

    async def end(self) -> None:
        if self.process.returncode is None:
            self._tell_to_end()
            try:
                async with asyncio.timeout(END):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
        await self.process.wait()

    def _tell_to_end(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(b"quit\n")
            self.process.stdin.close()


class Node(Child):
    """A child that is a node; it says where its parts can be reached in its log."""

    async def ready(self) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + READY
        while self.process.returncode is None and asyncio.get_running_loop().time() < deadline:
            for line in self.log.read_text(errors="replace").splitlines():
                said = _as_object(line)
                if said.get("event") == "ready":
                    return said
            await asyncio.sleep(0.03)
        raise DemoFailed(f"the node {self.name} did not become ready\n{self.tail()}")

    def _tell_to_end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)


class Processes:
    """All children of one demo; an asynchronous context manager that ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    async def __aenter__(self) -> Processes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.gather(*(child.end() for child in self._children)))

    async def start(self, name: str, module: str, *arguments: str) -> Child:
        """A module of the demo; returns before it is ready."""
        process, log = await self._spawn(name, ["-m", module, *arguments], {})
        return self._keep(Child(name, process, log))

    async def start_node(self, name: str, file: Path, environ: Mapping[str, str]) -> Node:
        """`twingateway run FILE`; returns before it is ready."""
        arguments = ["-m", "twingateway.demo.leash", "run", str(file)]
        process, log = await self._spawn(name, arguments, environ)
        node = Node(name, process, log)
        self._keep(node)
        return node

    async def watch(self) -> None:
        """Never returns; raises DemoFailed when a child ends by itself."""
        waiting = {asyncio.create_task(child.process.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        child = waiting[done.pop()]
        raise DemoFailed(f"{child.name} ended with status {child.process.returncode}\n{child.tail()}")

    async def _spawn(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> tuple[Process, Path]:
        log = self._folder / f"{name}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                env=os.environ | environ,
                start_new_session=True,
            )
        return process, log

    def _keep(self, child: Child) -> Child:
        self._children.append(child)
        return child


def _as_object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
