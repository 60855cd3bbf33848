"""One connection to one endpoint and one request on it at a time.

Rule: every byte received is held against the request before anything is decoded, and a connection on which anything
went wrong is closed, so that no late or half reply can be taken for the next one. Only where replies name their
request (Modbus/TCP) does it outlive a time-out: what comes late is known and thrown away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from twingateway.errors import DeviceError, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway_modbus.address import BROADCAST, AddressSettings, Transport
from twingateway_modbus.bytes_port import Channel
from twingateway_modbus.channel import open_channel
from twingateway_modbus.exceptions import exception_error
from twingateway_modbus.framing import Sent, make_framing
from twingateway_modbus.line_timing import seconds_on_line, silence
from twingateway_modbus.reply import EXCEPTION, ReplyFault, size_of
from twingateway_modbus.request import Request
from twingateway_modbus.role import refusal_hint

#: Requests without answer after which a connection is taken for dead, though nobody closed it.
_SILENCES = 2
#: Transactions given up whose replies are still recognised.
_REMEMBERED = 16
#: An alarm that comes so late was held up in this process, and the reply may lie unread: so long it is given yet.
_STALL, _GRACE = 0.05, 0.02

#: Unit, request and reply as PDUs; the reply is None where none came that could be believed, and then it is said why.
Tap = Callable[[int, bytes, bytes | None, str], None]


class Connection:
    """Open with `Connection.open`. `free_at`: when the next request may be sent, on the loop's clock."""

    def __init__(self, address: AddressSettings, free_at: float = 0.0) -> None:
        self.where = address.endpoint
        self.free_at = free_at
        self._address = address
        self.tap: Tap | None = None
        self._echoes = address.serial is not None and address.serial.echo
        self._framing = make_framing(address.transport.framing, echo=self._echoes)
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._transaction = 0
        self._late: deque[int] = deque(maxlen=_REMEMBERED)
        self._silences = 0
        self._pause = max(address.delay, silence(address))
        self._echo = b""
        self.has_answered = False
        self.was_closed = False
        """By the other end."""
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle
        self._sent: Sent | None = None
        self._buffer = b""
        self._reply: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, address: AddressSettings, timeout: float, free_at: float = 0.0) -> Connection:
        """Connect within `timeout` seconds. `free_at`: that of the connection before, for the device needs its pause
        all the same. Raises DeviceUnreachable."""
        connection = cls(address, free_at)
        try:
            async with asyncio.timeout(timeout):
                connection._channel = await open_channel(address, connection)
        except TimeoutError:
            hint = "is the address right and the device on?"
            raise DeviceUnreachable(f"no connection to {connection.where} in {timeout:g} s; {hint}") from None
        return connection

    @property
    def alive(self) -> bool:
        return self._channel is not None and self._channel.alive

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    async def ask(self, unit: int, request: Request, timeout: float) -> bytes:
        """The PDU of a good reply. Raises DeviceTimeout, DeviceUnreachable, DeviceReplyInvalid, or what an exception
        reply means."""
        await self._until_free()
        reply = self._send(unit, request)
        self._deadline = self._loop.time() + timeout + self._seconds_on_line(request)
        self._alarm = self._loop.call_at(self._deadline, self._give_up, timeout)
        try:
            pdu = await reply
        except asyncio.CancelledError:
            self.close()
            raise
        except DeviceError as error:
            if self.tap is not None:
                self.tap(unit, request.pdu, None, error.message)
            raise type(error)(f"unit {unit} at {self.where} {error.message} {request.doing}") from None
        finally:
            self._alarm.cancel()
            self._reply, self._buffer = None, b""
            self._rest(self._pause)
        self._silences = 0
        self.has_answered = True
        if self.tap is not None:
            self.tap(unit, request.pdu, pdu, "")
        if pdu[0] & EXCEPTION:
            hint = refusal_hint(self._address, pdu[1])
            raise exception_error(pdu[1], f"{request.doing}, says unit {unit} at {self.where}{hint}")
        return pdu

    async def tell(self, request: Request) -> None:
        """To all units of a serial line; none of them answers, and each needs `turnaround` to do it. Raises
        DeviceUnreachable."""
        await self._until_free()
        channel = self._open_channel(request)
        frame = self._framing.frame(0, BROADCAST, request.pdu)
        self._echo = frame if self._echoes else b""
        channel.send(frame)
        await asyncio.sleep(seconds_on_line(self._address, len(frame)))
        self._rest(max(self._address.turnaround, self._pause))

    async def _until_free(self) -> None:
        if self.free_at and (wait := self.free_at - self._loop.time()) > 0:
            await asyncio.sleep(wait)

    def _rest(self, pause: float) -> None:
        if pause:
            self.free_at = self._loop.time() + pause

    def _seconds_on_line(self, request: Request) -> float:
        """A slow line needs longer for a long reply than a quick device to make it."""
        if self._address.serial is None:
            return 0.0
        size = self._framing.size(len(request.pdu)) + self._framing.size(size_of(request.pdu))
        return seconds_on_line(self._address, size)

    def _send(self, unit: int, request: Request) -> asyncio.Future[bytes]:
        channel = self._open_channel(request)
        self._transaction = self._transaction % 0xFFFF + 1
        frame = self._framing.frame(self._transaction, unit, request.pdu)
        self._sent = Sent(unit, request.pdu, frame, self._late)
        self._reply = self._loop.create_future()
        channel.send(frame)
        return self._reply

    def _open_channel(self, request: Request) -> Channel:
        channel = self._channel
        if channel is None or not channel.alive:
            raise DeviceUnreachable(f"the connection to {self.where} ended before {request.doing}")
        return channel

    # --- called by the channel and the clock ----------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        reply, sent = self._reply, self._sent
        if reply is None or reply.done() or sent is None:
            self._unasked(data)
            return
        self._buffer += data
        try:
            pdu = self._framing.find(sent, self._buffer)
        except ReplyFault as fault:
            self.close()
            reply.set_exception(DeviceReplyInvalid(f"answered with {fault}{self._echo_hint(sent)}"))
            return
        if pdu is not None:
            reply.set_result(pdu)

    def _echo_hint(self, sent: Sent) -> str:
        lines = not self._framing.keeps_apart and not self._echoes
        is_echo = lines and self._buffer.startswith(sent.frame)
        return " (it begins with what was sent: does the line echo, and serial not say so?)" if is_echo else ""

    def lost(self, reason: str = "") -> None:
        self._channel = None
        self.was_closed = True
        if self._reply is not None and not self._reply.done():
            reason = reason or self._silent_refusal()
            because = f" ({reason})" if reason else ""
            self._reply.set_exception(DeviceUnreachable(f"closed the connection instead of an answer{because}"))

    def _silent_refusal(self) -> str:
        """What it most often means where the other end hung up without a word."""
        settings = self._address.tls
        shown = settings is not None and settings.certificate_file is not None
        if shown or self._address.transport is not Transport.TLS or self._transaction > 1:
            return ""
        return "it may want to see a certificate_file of ours"

    def _unasked(self, data: bytes) -> None:
        """Between two requests only replies that come late are borne, and the echo of what was said to all."""
        if self._echo.startswith(data):
            self._echo = self._echo[len(data) :]
        elif not (self._framing.keeps_apart and int.from_bytes(data[:2], "big") in self._late):
            self.close()

    def _half_heard(self) -> str:
        """What came instead of a reply; the line's own echo is nothing."""
        if not self._echoes or self._sent is None:
            return f"; only {len(self._buffer)} bytes came" if self._buffer else ""
        beyond = len(self._buffer) - len(self._sent.frame)
        if beyond < 0:
            return "; not even the echo came that this line should give"
        return f"; only {beyond} bytes came" if beyond else ""

    def _give_up(self, timeout: float) -> None:
        if self._reply is None or self._reply.done():
            return
        if self._loop.time() > self._deadline + _STALL:
            self._deadline = self._loop.time() + _GRACE
            self._alarm = self._loop.call_at(self._deadline, self._give_up, timeout)
            return
        half = self._half_heard()
        self._silences += 1
        self._late.append(self._transaction)
        if half or not self._framing.keeps_apart or self._silences >= _SILENCES:
            self.close()
        self._reply.set_exception(DeviceTimeout(f"did not answer within {timeout:g} s{half}"))
