"""The demo's bad link as a process: `python -m twingateway.demo.relay_process --server PORT --loss 0.1 --delay 0.05`.

Passes UDP between a port of its own and the one of the server, both on 127.0.0.1. The first line on stdout is
`{"ready": true, "port": N}`. Commands come on stdin, one a line, each answered by one JSON line; the process ends
with `quit` or the end of stdin:

cut, restore    nothing passes any more, packets pass again: `{"cut": true | false}`.
traffic         `{"up": {packets, lost, bytes}, "down": {…}}` so far.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from functools import partial
from typing import Any

from twingateway.demo.console import obey_on_loop, say
from twingateway.demo.relay import Conditions, Relay, Traffic


def command(relay: Relay, line: str) -> dict[str, Any]:
    """Carry out one line of stdin → the answer."""
    match line:
        case "cut" | "restore":
            relay.conditions.cut = line == "cut"
            return {"cut": relay.conditions.cut}
        case "traffic":
            return {"up": _shown(relay.up), "down": _shown(relay.down)}
    return {"error": f"{line!r} is no command: cut, restore, traffic, quit"}


def _shown(traffic: Traffic) -> dict[str, int]:
    return {"packets": traffic.packets, "lost": traffic.lost, "bytes": traffic.size}


async def serve(server: int, conditions: Conditions, seed: int) -> None:
    """Run until `quit` or the end of stdin."""
    relay = await Relay.start(("127.0.0.1", server), conditions=conditions, seed=seed)
    say({"ready": True, "port": relay.address[1]})
    await obey_on_loop(partial(command, relay))
    relay.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A UDP relay that loses and delays, for the demo.")
    parser.add_argument("--server", type=int, required=True, help="the UDP port to pass packets to")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets that are lost, each way")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same losses")
    arguments = parser.parse_args()
    conditions = Conditions(delay=arguments.delay, loss=arguments.loss)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.server, conditions, arguments.seed))


if __name__ == "__main__":
    main()
