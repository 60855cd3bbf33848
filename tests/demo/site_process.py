"""A site of the demo as its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


class Site:
    """The process and a line to it."""

    def __init__(self, module: str) -> None:
        command = [sys.executable, "-m", module, "--port", "0", "--seed", "7"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = self._answer()
        assert ready["ready"] is True
        self.port: int = ready["port"]

    def say(self, command: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def running(module: str) -> Iterator[Site]:
    """For a fixture: the site until the tests are done with it."""
    site = Site(module)
    yield site
    site.process.kill()
    site.process.communicate()
