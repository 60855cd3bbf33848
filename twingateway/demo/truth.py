"""Reads what the devices really hold: `python -m twingateway.demo.truth --modbus PORT --mqtt PORT --http PORT`.

A process of its own that opens new connections to the devices for every check and uses nothing of the gateway. The
first line on stdout is `{"ready": true}`; every line `read` on stdin is answered by one JSON line, device → property
→ value. It ends with `quit` or the end of stdin.
"""

from __future__ import annotations

import argparse
import contextlib
from functools import partial
from http.client import HTTPException
from typing import Any

from twingateway.demo import truth_http, truth_modbus, truth_mqtt
from twingateway.demo.console import obey, say

READERS = {"modbus": truth_modbus.read_truth, "mqtt": truth_mqtt.read_truth, "http": truth_http.read_truth}


def read(ports: dict[str, int]) -> dict[str, Any]:
    """Protocol → port, to device → property → value; or what went wrong under the key `error`."""
    found: dict[str, Any] = {}
    for protocol, port in ports.items():
        try:
            found |= READERS[protocol](port)
        except (OSError, HTTPException, ValueError, LookupError) as error:
            return {"error": f"{protocol}: {type(error).__name__}: {error}"}
    return found


def command(ports: dict[str, int], line: str) -> dict[str, Any]:
    """Carry out one line of stdin → the answer."""
    return read(ports) if line == "read" else {"error": f"{line!r} is no command: read, quit"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Reads the demo's devices over their own protocols.")
    for protocol in READERS:
        parser.add_argument(f"--{protocol}", type=int, required=True, help="TCP port on 127.0.0.1")
    ports = vars(parser.parse_args())
    say({"ready": True})
    with contextlib.suppress(KeyboardInterrupt):
        obey(partial(command, ports))


if __name__ == "__main__":
    main()
