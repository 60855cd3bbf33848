"""Runs the program `twingateway` until stdin ends: `python -m twingateway.demo.leash run node.yaml`.

A node does not read its stdin, so it would outlive a demo that was killed. On this leash it gets SIGTERM instead.
What runs is what the installed command runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib.metadata import distribution
from typing import Any


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    (command,) = distribution("twingateway").entry_points.select(group="console_scripts", name="twingateway")
    program: Any = command.load()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.argv[0] = "twingateway"
    sys.exit(program())


if __name__ == "__main__":
    main()
