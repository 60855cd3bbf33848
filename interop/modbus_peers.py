"""The Modbus adapter and its simulator against other implementations, in both directions.

    apt-get install mbpoll libmodbus-dev gcc
    npm install --prefix /tmp/peer modbus-serial@8
    python -m interop.modbus_peers --npm /tmp/peer

Runs what is installed and says what is not. The last line is a JSON object: `ran`, `missing` with the reason, and
`differences`, empty if all agree; otherwise, or if nothing could be run, the exit status is 1.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from interop import modbus_peer_libmodbus, modbus_peer_mbpoll, modbus_peer_npm
from interop.command import new_parser, run, tell


@dataclass(frozen=True, slots=True)
class Peer:
    """`missing`: what is not installed, empty if all is there. `run`: what differs from what it should be."""

    name: str
    missing: str
    run: Callable[[], Awaitable[list[str]]]


def peers(folder: Path | None) -> list[Peer]:
    """`folder`: where modbus-serial was installed."""
    has_headers = modbus_peer_libmodbus.HEADER.is_file()
    has_module = folder is not None and (folder / "node_modules" / "modbus-serial").is_dir()
    return [
        Peer("mbpoll", _absent("mbpoll"), modbus_peer_mbpoll.run),
        Peer("libmodbus", _absent("gcc") or ("" if has_headers else "libmodbus-dev"), modbus_peer_libmodbus.run),
        Peer(
            "modbus-serial",
            _absent("node") or ("" if has_module else "--npm, its folder"),
            lambda: modbus_peer_npm.run(folder or Path()),
        ),
    ]


def _absent(program: str) -> str:
    return "" if shutil.which(program) else program


async def _run(found: list[Peer]) -> int:
    results = {}
    for peer in found:
        if peer.missing:
            tell(f"{peer.name}: not installed: {peer.missing}")
        else:
            tell(f"{peer.name} …")
            results[peer.name] = await peer.run()
    differences = [f"{name} {each}" for name, each_of in results.items() for each in each_of]
    missing = {peer.name: peer.missing for peer in found if peer.missing}
    print(json.dumps({"ran": list(results), "missing": missing, "differences": differences}))
    return 1 if differences or not results else 0


def main() -> None:
    parser = new_parser("modbus_peers", __doc__)
    parser.add_argument("--npm", type=Path, metavar="FOLDER", help="the folder where modbus-serial was installed")
    folder = parser.parse_args().npm
    run(_run(peers(folder and folder.resolve())))


if __name__ == "__main__":
    main()
