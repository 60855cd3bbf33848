"""One connection to one endpoint and one request on it at a time; the only importer of pymodbus.

Rule: pymodbus moves bytes and packs requests, but is not believed: every byte received is held against the request by
`reply.fault` before pymodbus decodes it, and a connection on which anything went wrong is closed, so that no late or
half reply can be taken for the next one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from twingateway.errors import DeviceError, DeviceReplyInvalid, DeviceTimeout, DeviceUnreachable
from twingateway_modbus.exceptions import exception_error
from twingateway_modbus.point import Table
from twingateway_modbus.reply import fault

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.pdu import ModbusPDU

#: pymodbus's own time-out must never come before ours; seconds.
_NEVER = 3600.0

#: Client method and, of its reply, the attribute with the values.
_READS: dict[Table, tuple[str, str]] = {
    Table.HOLDING: ("read_holding_registers", "registers"),
    Table.INPUT: ("read_input_registers", "registers"),
    Table.COIL: ("read_coils", "bits"),
    Table.DISCRETE: ("read_discrete_inputs", "bits"),
}


class Connection:
    """Open with `Connection.open`. `where` is `host:port`, for messages."""

    def __init__(self, host: str, port: int) -> None:
        from pymodbus.client import AsyncModbusTcpClient

        # It logs what it also raises, and what we find wrong ourselves.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
        self.where = f"{host}:{port}"
        self._client: AsyncModbusTcpClient = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=_NEVER,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._traffic,
            trace_connect=self._connect_changed,
        )
        self._request = b""
        self._received = 0
        self._exchange: asyncio.Task[ModbusPDU] | None = None
        self._verdict: DeviceError | None = None

    @classmethod
    async def open(cls, host: str, port: int, timeout: float) -> Connection:
        """Connect within `timeout` seconds. Raises DeviceUnreachable."""
        connection = cls(host, port)
        try:
            async with asyncio.timeout(timeout):
                connected = await connection._client.connect()
        except TimeoutError:
            connected = False
        if not connected:
            connection.close()
            raise DeviceUnreachable(f"no connection to {host}:{port}; is the address right and the device on?")
        return connection

    @property
    def alive(self) -> bool:
        return bool(self._client.connected)

    def close(self) -> None:
        self._client.close()

    async def read(self, unit: int, table: Table, address: int, count: int, timeout: float) -> list[int]:
        """`count` registers or bits from `address` on."""
        method, values = _READS[table]
        cells = "registers" if values == "registers" else "bits"
        doing = f"reading {count} {table} {cells} at {address}"
        reply = await self._ask(method, unit, timeout, doing, address=address, count=count)
        return list(getattr(reply, values)[:count])

    async def write_registers(self, unit: int, address: int, registers: list[int], timeout: float) -> None:
        """One register with function 6, several in one request with function 16."""
        doing = f"writing {len(registers)} holding registers at {address}"
        if len(registers) == 1:
            await self._ask("write_register", unit, timeout, doing, address=address, value=registers[0])
        else:
            await self._ask("write_registers", unit, timeout, doing, address=address, values=registers)

    async def write_coil(self, unit: int, address: int, on: bool, timeout: float) -> None:
        await self._ask("write_coil", unit, timeout, f"writing the coil at {address}", address=address, value=on)

    async def _ask(self, method: str, unit: int, timeout: float, doing: str, **arguments: Any) -> ModbusPDU:
        """One request and its reply. Raises DeviceTimeout, DeviceUnreachable, DeviceReplyInvalid, or what an
        exception reply means."""
        whom = f"unit {unit} at {self.where}"
        self._forget()
        try:
            self._exchange = asyncio.ensure_future(getattr(self._client, method)(device_id=unit, **arguments))
            async with asyncio.timeout(timeout):
                reply = await self._exchange
        except TimeoutError:
            self.close()
            raise DeviceTimeout(f"{whom} did not answer within {timeout:g} s {doing}{self._half()}") from None
        except asyncio.CancelledError:
            self.close()
            task = asyncio.current_task()
            if self._verdict is None or (task is not None and task.cancelling()):
                raise
            raise type(self._verdict)(f"{whom} {self._verdict.message} {doing}") from None
        except self._foreign() as error:
            self.close()
            raise DeviceUnreachable(f"{whom}: {error} {doing}") from error
        finally:
            self._exchange = None
        if reply.isError():
            raise exception_error(reply.exception_code, f"{doing}, says {whom}")
        return reply

    def _forget(self) -> None:
        self._request, self._received, self._verdict = b"", 0, None

    @staticmethod
    def _foreign() -> tuple[type[Exception], ...]:
        from pymodbus.exceptions import ModbusException

        return (ModbusException, OSError)

    def _half(self) -> str:
        return f"; only {self._received} bytes came" if self._received else ""

    def _traffic(self, sending: bool, data: bytes) -> bytes:
        """Called by pymodbus with each frame it sends and with all that was received since."""
        if sending:
            self._request = data
            return data
        self._received = len(data)
        waiting = self._exchange is not None and not self._exchange.done() and self._request
        wrong = fault(self._request, data) if waiting else "sent something unasked"
        if not wrong:
            return data
        self._fail(DeviceReplyInvalid(f"answered with {wrong}"))
        self._client.close()
        return b""

    def _connect_changed(self, connected: bool) -> None:
        if not connected:
            self._fail(DeviceUnreachable("closed the connection instead of an answer"))

    def _fail(self, verdict: DeviceError) -> None:
        """End the request in flight with `verdict`."""
        if self._exchange is not None and not self._exchange.done() and self._verdict is None:
            self._verdict = verdict
            self._exchange.cancel()
