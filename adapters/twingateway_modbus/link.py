"""What the devices behind one endpoint share: its connections, turns on them, and who is in quarantine.

Rules:
- A unit that cost a time-out or a connection is left alone for a while (1 s, doubling to 30 s), whoever asks for it,
  and so is an endpoint that does not accept connections; everybody else goes on.
- A unit in quarantine is tried again with little patience (a few times what replies on this link, and its own while
  it was well, have taken), and when nobody else is due meanwhile, if there is such a moment, so that it does not hold
  up its neighbours with every try; one in twenty tries has its full time-out.
- One unit's reads are on several connections at a time where there are; on all of them only if the link is its alone,
  and on one while it has not answered (lately), so that a silent unit never holds the whole link.
- A read whose reply was garbled is asked once more at once; nothing else is repeated here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

from twingateway.adapter import Figure
from twingateway.errors import DeviceError, DeviceRefused, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway_modbus.address import BROADCAST, AddressSettings
from twingateway_modbus.bisection import Answer, bisect
from twingateway_modbus.connection import Connection, Tap
from twingateway_modbus.connections import Connections, NotOpened, OneTooMany
from twingateway_modbus.exceptions import REFUSING_AN_ADDRESS
from twingateway_modbus.learned import Learned
from twingateway_modbus.plan import Block
from twingateway_modbus.point import Table
from twingateway_modbus.pool import Pool, cut
from twingateway_modbus.quarantine import Quarantine
from twingateway_modbus.reply import objects_of
from twingateway_modbus.request import (
    Cells,
    Request,
    identification,
    mask_write,
    read,
    read_write,
    unpack_bits,
    write_coils,
    write_registers,
)
from twingateway_modbus.schedule import Round, quiet_moment
from twingateway_modbus.tally import Failure, Tally

#: Patience with a unit in quarantine: at least these seconds, or so many times the slowest recent reply.
_SHORTEST_TRY, _TIMES_SLOWEST = 0.03, 5.0
_FULL_TRY_EVERY = 20
#: How fast the slowest reply is forgotten, with each reply.
_FORGETTING = 0.99


def forgetful(unit: int) -> Learned:
    return Learned(None, f"unit {unit}")


class Link:
    """Connects on demand, again after every loss. All methods raise DeviceErrors only. `learned`: what is known of
    reading a unit for several devices."""

    def __init__(self, address: AddressSettings, learned: Callable[[int], Learned] = forgetful) -> None:
        self.address = address.link_settings
        self.tally = Tally()
        self._connections = Connections(self.address, self._most)
        self.turns = self._connections.turns
        self._units: defaultdict[int, Quarantine] = defaultdict(Quarantine)
        self._learned = learned
        self._pools: dict[int, Pool] = {}
        self._rounds: dict[object, Sequence[Round]] = {}
        self._slowest = 0.0
        self._slowest_of: dict[int, float] = {}
        self._reading: defaultdict[tuple[int, Cells], asyncio.Lock] = defaultdict(asyncio.Lock)
        """What is read for several devices at present."""

    @property
    def connections(self) -> int:
        """At most."""
        return self.address.connections

    @property
    def tap(self) -> Tap | None:
        """Is told of all exchanges on connections that are opened from now on."""
        return self._connections.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._connections.tap = tap

    def _most(self, unit: int) -> int:
        """Connections that the reads of a unit may use at a time."""
        if self._units[unit].error is not None or unit not in self._slowest_of:
            return 1
        return max(1, self.connections - (len(self._pools) > 1))

    def pool(self, unit: int) -> Pool:
        """What the devices behind `unit` read together."""
        pool = self._pools.get(unit)
        if pool is None:
            pool = self._pools[unit] = Pool(self._learned(unit))
        return pool

    def blocked_for(self, unit: int) -> float:
        """Seconds until `unit` will be asked again, 0 while nothing is wrong with it."""
        now = asyncio.get_running_loop().time()
        return max(self._connections.endpoint.remaining(now), self._units[unit].remaining(now))

    def forgive(self, unit: int) -> None:
        """What it left unanswered says nothing about the rest."""
        self._units[unit].succeeded()

    def join(self, member: object, rounds: Sequence[Round]) -> None:
        """`member` polls here by `rounds`."""
        self._rounds[member] = rounds

    def leave(self, member: object) -> None:
        self._rounds.pop(member, None)

    def until_quiet(self, member: object, unit: int, timeout: float) -> float:
        """Seconds until `unit` can be tried again without holding up anybody else who polls here."""
        now = asyncio.get_running_loop().time()
        others = [each for other, rounds in self._rounds.items() if other is not member for each in rounds]
        return quiet_moment(others, now, self._patience(unit, self._units[unit], timeout), self._slowest) - now

    @asynccontextmanager
    async def turn(self, unit: int, timeout: float, *, urgent: bool = False) -> AsyncIterator[Turn]:
        """Nobody else uses the connection inside the block; `urgent` goes before all that is not, and then nobody
        else asks the unit on another connection either."""
        turn = Turn(self, unit, timeout, await self.turns.acquire(unit, urgent=urgent), urgent=urgent)
        try:
            yield turn
        finally:
            turn.end()

    async def read(self, unit: int, timeout: float, cells: Cells, period: float = 0.0) -> bytes:
        """One read in a turn of its own; with others of this unit, if there are any and it has a `period`."""
        pool = self._pools.get(unit) if period else None
        if pool is not None and pool.is_shared:
            return await self._read_together(pool, unit, timeout, cells, period)
        place = self.turns.take(unit)
        turn = Turn(self, unit, timeout, await self.turns.acquire(unit) if place is None else place)
        try:
            return await turn.read(cells)
        finally:
            turn.end()

    async def _read_together(self, pool: Pool, unit: int, timeout: float, cells: Cells, period: float) -> bytes:
        """Who wants what is just being read waits for that, without a connection of its own."""
        time = asyncio.get_running_loop().time
        async with self._reading[unit, pool.widened(cells, period)]:
            wide = pool.widened(cells, period)
            known = pool.recent(wide, cells, period, time())
            if known is not None:
                return known
            async with self.turn(unit, timeout) as turn:
                try:
                    data = await turn.read(wide)
                except DeviceRefused as error:
                    block = pool.block(cells, period)
                    if block is None or wide == cells or Answer.of(error) is not Answer.REFUSED:
                        raise
                    await self._learn(pool, turn, block)
                    wide, data = cells, await turn.read(cells)
                pool.keep(wide, data, time())
                return cut(wide, cells, data)

    async def _learn(self, pool: Pool, turn: Turn, block: Block) -> None:
        async def ask(half: Block) -> Answer:
            try:
                await turn.read(half.cells)
            except DeviceError as error:
                if Answer.of(error) is Answer.NOTHING:
                    raise
                return Answer.of(error)
            return Answer.DATA

        if await bisect(block, ask, pool.learned):
            pool.plan()
            pool.learned.save()

    async def ask(self, place: int, unit: int, timeout: float, request: Request) -> bytes:
        """Make one request for `unit`; the caller has the turn on `place`."""
        loop = asyncio.get_running_loop()
        quarantine, began = self._units[unit], loop.time()
        self._connections.endpoint.check(began)
        quarantine.check(began)
        connection = self._connections.at(place) or await self.connect(place, timeout)
        self.tally.requests += 1
        patience = self._patience(unit, quarantine, timeout)
        try:
            reply = await connection.ask(unit, request, patience)
        except DeviceError as error:
            failure = self.tally.failed(error)
            if failure is Failure.TIMEOUT and patience < timeout:
                error = DeviceTimeout(f"{error.message} (a short try, since it was silent before)", **error.detail)
            judged = self._connections.judge(place, error)
            if failure is Failure.EXCEPTION and not isinstance(error, DeviceUnreachable):
                self._answered(unit, quarantine, loop.time() - began)
            elif isinstance(judged, DeviceUnreachable | DeviceTimeout) and not isinstance(judged, OneTooMany):
                quarantine.failed(error, loop.time(), began)
            raise judged from None
        finally:
            self.tally.busy += loop.time() - began
        self._answered(unit, quarantine, loop.time() - began)
        return reply

    async def tell(self, place: int, timeout: float, request: Request) -> None:
        """Say something to all units of a serial line; the caller has the turn on `place`."""
        connection = await self.connect(place, timeout)
        self.tally.requests += 1
        try:
            await connection.tell(request)
        except DeviceError as error:
            self.tally.failed(error)
            raise
        finally:
            for pool in self._pools.values():
                pool.forget()

    def _answered(self, unit: int, quarantine: Quarantine, taken: float) -> None:
        if quarantine.error is not None:
            quarantine.succeeded()
        self._slowest = max(taken, self._slowest * _FORGETTING)
        self._slowest_of[unit] = max(taken, self._slowest_of.get(unit, 0.0) * _FORGETTING)

    def _patience(self, unit: int, quarantine: Quarantine, timeout: float) -> float:
        if quarantine.failures % _FULL_TRY_EVERY == 0 or not self._slowest:
            return timeout
        slowest = max(self._slowest, self._slowest_of.get(unit, 0.0))
        return min(timeout, max(_SHORTEST_TRY, _TIMES_SLOWEST * slowest))

    async def connect(self, place: int, timeout: float) -> Connection:
        """That on `place`, made if there is none, unless that was tried just now. Raises DeviceUnreachable."""
        self._connections.endpoint.check(asyncio.get_running_loop().time())
        try:
            return self._connections.at(place) or await self._connections.open(place, timeout)
        except DeviceError as error:
            self.tally.failed(error)
            raise

    def figures(self) -> Iterator[Figure]:
        """What was counted, and who rests."""
        now = asyncio.get_running_loop().time()
        resting = [unit for unit, quarantine in self._units.items() if quarantine.remaining(now)]
        return self.tally.figures(self.address.endpoint, len(resting), self._connections.alive)

    def close(self) -> None:
        self._connections.close()


class Turn:
    """The right to make requests for one unit, one after another. All units of a serial line can be written to, too:
    there is no reply. `place`: of the connection; another one is taken if that is one too many."""

    def __init__(self, link: Link, unit: int, timeout: float, place: int, *, urgent: bool = False) -> None:
        self._link = link
        self._unit = unit
        self._timeout = timeout
        self._place = place
        self._urgent = urgent
        self._has_ended = False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._link.turns.release(self._place)

    async def connect(self) -> None:
        """Unless there is a connection. Raises DeviceUnreachable."""
        await self._link.connect(self._place, self._timeout)

    async def read(self, cells: Cells) -> bytes:
        """Two bytes a register, one a bit."""
        reply = await self._ask_twice(read(cells))
        return unpack_bits(reply[2:], cells.count) if cells.table.of_bits else reply[2:]

    async def write(self, table: Table, address: int, data: bytes, *, multiple: bool = False) -> None:
        """All cells in one request."""
        make = write_coils if table.of_bits else write_registers
        await self._change(make(address, data, multiple=multiple))

    async def write_masked(self, address: int, keep: int, put: int) -> None:
        await self._change(mask_write(address, keep, put))

    async def write_and_read(self, address: int, data: bytes) -> bytes:
        """What the registers hold after they were written."""
        return (await self._change(read_write(address, data)))[2:]

    async def identify(self, level: int = 1) -> dict[int, bytes]:
        """The device identification's objects by number, up to `level` or the highest below it that the device has. A
        unit that leaves this unanswered is not left alone for it."""
        try:
            return await self._identify(level)
        except DeviceRefused as error:
            if level == 1 or error.detail.get("exception") not in REFUSING_AN_ADDRESS:
                raise
        except (DeviceTimeout, DeviceUnreachable):
            self._link.forgive(self._unit)
            raise
        return await self.identify(level - 1)

    async def _identify(self, level: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        following: int | None = 0
        while following is not None:
            objects, after = objects_of(await self._ask_twice(identification(level, following)))
            found |= objects
            following = after if after is not None and after > following else None
        return found

    async def _change(self, request: Request) -> bytes:
        """Nothing that was read before is believed after it, however it ends. All units together give no reply."""
        if self._is_everybody:
            await self._link.tell(self._place, self._timeout, request)
            return b""
        try:
            return await self._ask(request)
        finally:
            self._link.pool(self._unit).forget()

    async def _ask_twice(self, request: Request) -> bytes:
        """A reply that was garbled may have been so by chance."""
        try:
            return await self._ask(request, again=True)
        except DeviceReplyInvalid:
            return await self._ask(request, again=True)

    @property
    def _is_everybody(self) -> bool:
        return self._link.address.is_everybody(self._unit)

    async def _ask(self, request: Request, *, again: bool = False) -> bytes:
        """`again`: it may be asked twice, since it changes nothing."""
        if self._is_everybody:
            raise nobody_answers(self._link.address)
        while True:
            try:
                return await self._link.ask(self._place, self._unit, self._timeout, request)
            except OneTooMany as error:
                if not again and not isinstance(error, NotOpened):
                    raise
                await self._move()

    async def _move(self) -> None:
        """To another connection than this one, which is one too many."""
        self.end()
        self._place = await self._link.turns.acquire(self._unit, urgent=self._urgent)
        self._has_ended = False


def nobody_answers(address: AddressSettings) -> DeviceRefused:
    return DeviceRefused(f"unit {BROADCAST} is all units of {address.endpoint}: none answers, it can only be written")
