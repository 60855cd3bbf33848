"""Two network namespaces joined by an emulated link, for real kernel TCP and UDP. Needs root and Linux.

Each namespace has a TUN device; what one side sends is read here, judged by `interop.path` and written to the other
side when its time has come. As a library:

    async with EmulatedLink(Conditions(delay=0.05, loss=0.2)) as link:
        process = await asyncio.create_subprocess_exec(*link.inside("edge"), "ping", link.cloud_address)
        link.conditions.loss = 0.5

As a command it makes the namespaces and keeps the link until Ctrl-C, and does to it what `interop.timetable` knows,
at times given on its command line or when a line on its standard input says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import heapq
import os
import random
import re
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from interop.command import new_parser, run
from interop.nat import Nat
from interop.path import Conditions, Counters, Direction
from interop.quantities import bits_per_second, seconds, share
from interop.timetable import ADDRESS, REBIND, SET, SHOW, Step, read_at, read_outage, read_step, run_length

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
MTU = 1400
#: Packets read in one go, so that the other direction gets its turn.
_BATCH = 64
#: Half of the event loop's timer resolution: packets leave at most so much early or late.
_SLACK = 0.0005

EDGE_ADDRESS, CLOUD_ADDRESS, SECOND_EDGE_ADDRESS = "10.213.0.1", "10.213.0.2", "10.213.0.3"
_PREFIX = "tglink"


class NeedsRoot(PermissionError):
    """Namespaces and TUN devices can only be made by root."""

    def __init__(self) -> None:
        super().__init__("the link emulator makes network namespaces and TUN devices: run it as root")


class _Pump:
    """Moves packets of one direction from one TUN device to the other."""

    def __init__(
        self,
        source: int,
        target: int,
        direction: Direction,
        *,
        enter: Callable[[bytes], bytes] = lambda packet: packet,
        leave: Callable[[bytes], bytes | None] = lambda packet: packet,
    ) -> None:
        """`enter` and `leave`: what becomes of a packet at the beginning and at the end of its way."""
        self._loop = asyncio.get_running_loop()
        self._source, self._target, self._direction = source, target, direction
        self._enter, self._leave = enter, leave
        self._underway: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(source, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                packet = os.read(self._source, 65_535)
            except BlockingIOError:
                break
            if packet[0] >> 4 != 4:
                continue  # the kernel's own IPv6 chatter
            packet = self._enter(packet)
            for arrival in self._direction.arrivals(len(packet), self._loop.time()):
                self._number += 1
                heapq.heappush(self._underway, (arrival, self._number, packet))
        self._deliver()

    def _deliver(self) -> None:
        now = self._loop.time() + _SLACK
        while self._underway and self._underway[0][0] <= now:
            packet = self._leave(heapq.heappop(self._underway)[2])
            if packet is not None:
                with contextlib.suppress(OSError):
                    os.write(self._target, packet)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._underway:
            self._timer = self._loop.call_at(self._underway[0][0], self._deliver)


class EmulatedLink:
    """The namespaces `edge` and `cloud` and the link between them, for as long as the context lasts.

    `timetable`: what to do to the link when, in seconds from the beginning of the context; `tell` hears of it.
    """

    edge_address, cloud_address = EDGE_ADDRESS, CLOUD_ADDRESS

    def __init__(
        self,
        conditions: Conditions,
        *,
        seed: int = 1,
        timetable: Iterable[tuple[float, Step]] = (),
        tell: Callable[[str], object] = lambda text: None,
        mtu: int = MTU,
    ) -> None:
        self.conditions = conditions
        self.up = Direction(conditions, random.Random(f"{seed}/up"))
        self.down = Direction(conditions, random.Random(f"{seed}/down"))
        self._mtu = mtu
        self._timetable = list(timetable)
        self._tell = tell
        self._nat = Nat()
        self._names = {side: f"{_PREFIX}-{os.getpid()}-{side}" for side in ("edge", "cloud")}
        self._stack = contextlib.ExitStack()

    async def __aenter__(self) -> EmulatedLink:
        if os.geteuid() != 0:
            raise NeedsRoot
        _remove_stale()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    def namespace(self, side: str) -> str:
        return self._names[side]

    def inside(self, side: str) -> list[str]:
        """The beginning of a command line that runs in the namespace of `edge` or `cloud`."""
        return ["ip", "netns", "exec", self._names[side]]

    def use_congestion_control(self, name: str) -> None:
        """Kernel TCP in both namespaces from now on; `bbr`, `cubic` or `reno`. Raises OSError if the kernel lacks it.

        A namespace may only use what the machine allows everybody; the list is put back when the link ends.
        """
        allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
        before = allowed.read_text()
        if name not in before.split():
            allowed.write_text(f"{before.strip()} {name}")
            self._stack.callback(allowed.write_text, before)
        for namespace in self._names.values():
            command = f"echo {name} > /proc/sys/net/ipv4/tcp_congestion_control"
            _run("ip", "netns", "exec", namespace, "sh", "-c", command)

    def change_edge_address(self) -> str:
        """Give the edge another address and take away the old one, as when a modem dials in again."""
        former = self.edge_address
        self.edge_address = SECOND_EDGE_ADDRESS if former == EDGE_ADDRESS else EDGE_ADDRESS
        namespace = self._names["edge"]
        _run("ip", "-n", namespace, "addr", "del", f"{former}/24", "dev", "wan")
        _run("ip", "-n", namespace, "addr", "add", f"{self.edge_address}/24", "dev", "wan")
        return self.edge_address

    def rebind(self) -> None:
        """What the edge's flows come from is another port from now on, as when a translator between has forgotten
        them: what the cloud sends to the former ports gets lost."""
        self._nat.rebind()

    def apply(self, step: Step) -> str:
        """Do this; what to tell of it."""
        if step.what == SET:
            setattr(self.conditions, step.name, step.value)
            return f"{step.name} is {step.value:g} now"
        return self._ACTIONS[step.what](self)

    def _change_address(self) -> str:
        return f"the edge's address is {self.change_edge_address()} now"

    def _rebind(self) -> str:
        self.rebind()
        return "the edge's flows come from other ports now"

    def _show(self) -> str:
        shown = ", ".join(f"{name} {value:g}" for name, value in asdict(self.conditions).items())
        return "\n".join([shown, _told("up", self.up.counters), _told("down", self.down.counters)])

    _ACTIONS: ClassVar[dict[str, Callable[[EmulatedLink], str]]] = {
        ADDRESS: _change_address, REBIND: _rebind, SHOW: _show,
    }  # fmt: skip

    def _open(self) -> None:
        ends = {}
        for side, address in (("edge", EDGE_ADDRESS), ("cloud", CLOUD_ADDRESS)):
            namespace = self._names[side]
            _run("ip", "netns", "add", namespace)
            self._stack.callback(_remove, namespace)
            ends[side] = _open_tun(namespace, address, self._mtu)
            self._stack.callback(os.close, ends[side])
        up = _Pump(ends["edge"], ends["cloud"], self.up, enter=self._nat.outgoing)
        self._stack.callback(up.close)
        down = _Pump(ends["cloud"], ends["edge"], self.down, leave=self._nat.incoming)
        self._stack.callback(down.close)
        loop = asyncio.get_running_loop()
        for when, step in self._timetable:
            self._stack.callback(loop.call_later(when, self._apply_and_tell, step).cancel)

    def _apply_and_tell(self, step: Step) -> None:
        self._tell(self.apply(step))


def _open_tun(namespace: str, address: str, mtu: int) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        asked = struct.pack("16sH22x", f"{_PREFIX}%d".encode(), _IFF_TUN | _IFF_NO_PI)
        name = fcntl.ioctl(end, _TUNSETIFF, asked)[:16].rstrip(b"\0").decode()
        _run("ip", "link", "set", name, "netns", namespace, "name", "wan")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "wan")
        _run("ip", "-n", namespace, "link", "set", "dev", "wan", "mtu", str(mtu), "txqueuelen", "5000", "up")
    except BaseException:
        os.close(end)
        raise
    return end


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _remove(namespace: str) -> None:
    """With everything that still runs in it."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _remove_stale() -> None:
    """Namespaces whose maker was killed before it could clean up."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for namespace, pid in re.findall(rf"^({_PREFIX}-([0-9]+)-[a-z]+)", listed.stdout, re.MULTILINE):
        if not Path(f"/proc/{pid}").exists():
            _remove(namespace)


# --- options and the command --------------------------------------------------------------------------------------

_EXAMPLES = """\
examples:
  a poor radio link
    python -m interop.link --delay 50ms --loss 20% --bandwidth 1m
  losses in runs of eight packets on the average, one packet in ten overtaken by what follows within 30 ms
    python -m interop.link --loss 10% --burst 8 --reorder 10% --reorder-by 30ms
  no link for 5 s in every minute, and a new address for the edge after 90 s
    python -m interop.link --outage 20s:5s:60s --at 90s:address

steps, for --at and as lines on standard input while it runs:
  down, up         the link passes nothing; passes packets again
  address          the edge loses its address and gets another, as when a modem dials in again
  rebind           the edge's flows come from other ports, as when a NAT on the way has forgotten them
  loss=30%         or delay, jitter, burst, rate, queue, reorder, reorder_by, duplicate: that, from now on
  show             the conditions, and what became of the packets so far

Ends with Ctrl-C, SIGTERM or after --seconds, and removes the namespaces with all that still runs in them.
"""
#: How far ahead repeated outages are planned, in seconds.
_HORIZON = 24 * 3600.0


def add_options(parser: argparse.ArgumentParser, *, delay: str = "50ms") -> None:
    """The link's options, for every command that uses one."""
    group = parser.add_argument_group("the link (each direction)")
    group.add_argument("--delay", type=seconds, default=seconds(delay), help=f"one way ({delay})")
    group.add_argument("--jitter", type=seconds, default=0.0, help="up to so much more, order kept (0)")
    group.add_argument("--loss", type=share, default=0.0, help="mean share of packets lost, 0.2 or 20%% (0)")
    group.add_argument("--burst", type=run_length, default=1.0, help="mean run of lost packets (1: independent)")
    group.add_argument("--bandwidth", type=bits_per_second, default=0.0, help="bit/s, like 256k (unlimited)")
    group.add_argument("--queue", type=seconds, default=0.3, help="at the bottleneck (300ms)")
    group.add_argument("--reorder", type=share, default=0.0, help="share of packets that others overtake (0)")
    group.add_argument("--reorder-by", type=seconds, default=0.03, help="so much later those arrive (30ms)")
    group.add_argument("--duplicate", type=share, default=0.0, help="share of packets that arrive twice (0)")
    group.add_argument("--seed", type=int, default=1, help="of the link's random numbers (1)")


def conditions_of(options: argparse.Namespace) -> Conditions:
    """Fresh conditions from the options that `add_options` added."""
    named = ("delay", "jitter", "loss", "burst", "queue", "reorder", "reorder_by", "duplicate")
    return Conditions(rate=options.bandwidth, **{name: getattr(options, name) for name in named})


def _told(name: str, counters: Counters) -> str:
    return (
        f"{name}: {counters.packets} packets, {counters.bytes} bytes, {counters.lost} lost, "
        f"{counters.dropped} dropped at the queue, {counters.reordered} held back, {counters.duplicated} twice"
    )


async def _lines() -> AsyncIterator[str]:
    """Of standard input, which may be a terminal, a pipe or a file."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty()):
        for line in sys.stdin:  # a file has all its lines already
            yield line
        return
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode()


async def _obey(link: EmulatedLink) -> None:
    async for line in _lines():
        try:
            print(link.apply(read_step(line)), flush=True)
        except (argparse.ArgumentTypeError, OSError) as error:
            print(error, file=sys.stderr, flush=True)


async def _main(options: argparse.Namespace) -> None:
    timetable = [*options.at, *(each for one in options.outage for each in one.steps(_HORIZON))]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):  # this is how it is meant to end
        loop.add_signal_handler(number, stop.set)

    def told(text: str) -> None:
        print(text, flush=True)

    async with EmulatedLink(conditions_of(options), seed=options.seed, timetable=timetable, tell=told) as link:
        link.use_congestion_control(options.congestion_control)
        for side, address in (("edge", link.edge_address), ("cloud", link.cloud_address)):
            print(f"{side}: {address}, run things there with: {' '.join(link.inside(side))} COMMAND", flush=True)
        obeying = asyncio.create_task(_obey(link))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.seconds):
                await stop.wait()
        obeying.cancel()
        print(link.apply(Step(SHOW)), flush=True)


def main() -> None:
    description = "Two network namespaces joined by a link of your making, for real kernel TCP and UDP. Needs root."
    parser = new_parser("link", description, epilog=_EXAMPLES)
    add_options(parser)
    parser.add_argument(
        "--outage", type=read_outage, action="append", default=[], metavar="START:LENGTH[:EVERY]",
        help="when the link passes nothing; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--at", type=read_at, action="append", default=[], metavar="TIME:STEP",
        help="what else to do when (see below); may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--congestion-control", metavar="NAME", default="cubic", help="of kernel TCP: cubic, bbr or reno (cubic)"
    )
    parser.add_argument("--seconds", type=seconds, help="how long (until Ctrl-C)")
    run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
