"""The emulated link with real sockets at both ends, where there may be one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from argparse import ArgumentParser
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interop.link import EmulatedLink, NeedsRoot, add_options, conditions_of
from interop.path import Conditions
from interop.timetable import Step, read_at
from tests.fair_time import PATIENCE
from twingateway.testing.joined import until

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/net/tun").exists(), reason="namespaces and TUN devices are for root"
)

#: Tells each client, over UDP and TCP, from which address and port it is seen.
MIRROR = """
import socket, select
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 7000))
tcp = socket.create_server(("0.0.0.0", 7000))
print("ready", flush=True)
while True:
    if udp in select.select([udp, tcp], [], [])[0]:
        data, peer = udp.recvfrom(2000); udp.sendto(f"{peer[0]} {peer[1]}".encode(), peer)
    else:
        client, peer = tcp.accept(); client.sendall(f"{peer[0]} {peer[1]}".encode()); client.close()
"""
#: Asks that, for each line on standard input, from a port that stays the same (UDP) or a new one (TCP).
ASKER = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 40000))
print("ready", flush=True)
for line in sys.stdin:
    try:
        if line.strip() == "tcp":
            with socket.create_connection(("10.213.0.2", 7000), timeout=60) as tcp: print(tcp.recv(99).decode())
        else:
            udp.settimeout(0.1 if line.strip() == "in vain" else 60)
            udp.sendto(b"?", ("10.213.0.2", 7000)); print(udp.recv(99).decode())
    except TimeoutError:
        print("silence")
    sys.stdout.flush()
"""


@contextlib.asynccontextmanager
async def running(link: EmulatedLink, side: str, program: str) -> AsyncIterator[Process]:
    command = [*link.inside(side), sys.executable, "-S", "-c", program]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def answer(asker: Process, how: str = "udp") -> list[str]:
    assert asker.stdin is not None
    assert asker.stdout is not None
    asker.stdin.write(how.encode() + b"\n")
    return (await asker.stdout.readline()).decode().split()


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


@needs_root
async def test_a_link_carries_what_it_is_told_to_and_shows_new_ports_and_addresses():
    async with (
        EmulatedLink(Conditions(delay=0.01)) as link,
        running(link, "cloud", MIRROR),
        running(link, "edge", ASKER) as asker,
    ):
        assert await answer(asker) == ["10.213.0.1", "40000"]
        began = asyncio.get_running_loop().time()
        await answer(asker)
        assert asyncio.get_running_loop().time() - began >= 0.02, "there and back"
        link.rebind()
        address, port = await answer(asker)
        assert address == "10.213.0.1"
        assert port != "40000"
        assert (await answer(asker, "tcp"))[0] == "10.213.0.1", "the kernel takes the checksums for true"
        link.apply(Step("address"))
        assert (await answer(asker))[0] == link.edge_address == "10.213.0.3"
        link.conditions.down = True
        assert await answer(asker, "in vain") == ["silence"]
        await until(lambda: link.up.counters.lost)
        link.conditions.down = False
        assert (await answer(asker))[0] == "10.213.0.3"
        assert link.up.counters.lost == 1


@needs_root
async def test_the_timetable_is_kept_and_told():
    told: list[str] = []
    timetable = [read_at("0:loss=50%"), read_at("20ms:address"), read_at("40ms:down")]
    async with EmulatedLink(Conditions(), timetable=timetable, tell=told.append) as link:
        async with asyncio.timeout(PATIENCE):
            while len(told) < 3:
                await asyncio.sleep(0.01)
        assert link.conditions.loss == 0.5
        assert link.conditions.down
    assert told == ["loss is 0.5 now", "the edge's address is 10.213.0.3 now", "down is 1 now"]


@needs_root
async def test_namespaces_are_removed_with_all_that_runs_in_them_also_after_a_failure():
    link = EmulatedLink(Conditions())
    names = [link.namespace(side) for side in ("edge", "cloud")]
    left: list[Process] = []

    async def fail() -> None:
        async with link:
            assert all(name in namespaces() for name in names)
            left.append(await asyncio.create_subprocess_exec(*link.inside("edge"), "sleep", "600"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not any(name in namespaces() for name in names)
    assert await asyncio.wait_for(left[0].wait(), PATIENCE) == -9


async def test_without_root_there_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NeedsRoot, match="run it as root"):
        async with EmulatedLink(Conditions()):
            pass


def test_the_options_are_the_conditions():
    parser = ArgumentParser()
    add_options(parser)
    line = (
        "--delay 10ms --jitter 1ms --loss 20% --burst 4 --bandwidth 1m --queue 100ms --reorder 5% --reorder-by 7ms"
        " --duplicate 0.01"
    )
    assert conditions_of(parser.parse_args(line.split())) == Conditions(
        delay=0.01,
        jitter=0.001,
        loss=0.2,
        burst=4,
        rate=1e6,
        queue=0.1,
        reorder=0.05,
        reorder_by=0.007,
        duplicate=0.01,
    )
