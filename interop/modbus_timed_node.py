"""A node whose Modbus rounds are timed from inside: from when each was due until its values were reported.

    python -m interop.modbus_timed_node NODE.yaml --control 26900

Each line on the control port is answered with what was measured since the last one, as a JSON object: the phase of a
unit's rounds (its own, and as good as a name) → the seconds of each round, and how many rounds were left out.
"""

from __future__ import annotations

import argparse
import json
import socketserver
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

from twingateway_modbus import reader, schedule

from twingateway.cli.run import run


@dataclass(slots=True)
class _Measured:
    delays: list[float] = field(default_factory=list)
    missed: int = 0


_measured: defaultdict[float, _Measured] = defaultdict(_Measured)


class _TimedRound(schedule.Round):
    """Advanced right after its values were reported. The clock of the event loop may show whole milliseconds only."""

    def advance(self, now: float) -> None:
        before, measured = self.due, _measured[self.phase]
        measured.delays.append(time.monotonic() - before)
        super().advance(now)
        measured.missed += max(0, round((self.due - before) / self.period) - 1)


class _Control(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        told = {str(phase): asdict(each) for phase, each in list(_measured.items())}
        _measured.clear()
        self.wfile.write(json.dumps(told).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--control", type=int, required=True)
    options = parser.parse_args()
    vars(reader)["Round"] = _TimedRound
    socketserver.TCPServer.allow_reuse_address = True
    server = socketserver.TCPServer(("127.0.0.1", options.control), _Control)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run(options.file)


if __name__ == "__main__":
    main()
