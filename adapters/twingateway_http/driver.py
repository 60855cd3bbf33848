"""One HTTP device: polls by an absolute schedule, takes in what it pushes, writes and asks whether it took effect.

Rules: one request at a time for one device. A device is offline when none of its requests was answered usefully
twice in a row and it has not pushed for some time; one that refuses is there. A poll that began before a push never
overwrites what was pushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf

from twingateway.adapter import (
    UNCONFIRMED,
    AdapterContext,
    Beat,
    Device,
    DevicePort,
    Driver,
    Value,
    WebhookRequest,
    WebhookResponse,
    Written,
    not_writable,
)
from twingateway.errors import (
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
    InvalidConfig,
    MalformedText,
    WriteMismatch,
)
from twingateway_http.clients import Clients
from twingateway_http.command import Command, equal
from twingateway_http.endpoint import Answer, Call, Endpoint
from twingateway_http.poll import Poll
from twingateway_http.push import Inbox
from twingateway_http.reading import Reading, polled
from twingateway_http.settings import DeviceSettings, Names
from twingateway_http.standing import Standing
from twingateway_http.statuses import retry_after

#: Seconds between two looks at whether a write took effect: doubling from the first to the second.
_LOOKS = (0.05, 0.5)
#: Seconds for which a push shows that a device is there though its polls fail, unless the document says.
_SILENCE = 60.0


class HttpDriver(Driver):
    def __init__(self, device: Device, port: DevicePort, context: AdapterContext, clients: Clients) -> None:
        settings: DeviceSettings = device.settings
        names = Names(device.id.name, device.id.namespace)
        self._settings = settings
        self._port = port
        self._context = context
        self._endpoint = None if settings.address is None else Endpoint(settings.address, names, clients)
        self._standing = Standing(port, {name: each.deadband for name, each in settings.properties.items()})
        self._polls = _polls(settings, names)
        self._beat = Beat(None if settings.webhook is None else settings.webhook.period)
        self.period = max((poll.period for poll in self._polls), default=self._beat.period)
        self._commands = {
            name: Command.of(each, names) for name, each in settings.properties.items() if each.command is not None
        }
        self.writable = frozenset(self._commands)
        self._inbox = None if settings.webhook is None else Inbox(settings.webhook, settings.properties)
        self._webhook_path = "" if settings.webhook is None else names.expand(settings.webhook.path)
        self._stop_listening: Callable[[], None] | None = None
        self._pushed: dict[str, tuple[Value, float]] = {}
        self._heard = -inf
        self._running_since = -inf
        self._turn = asyncio.Lock()
        self._quiet_until = -inf

    # --- polling ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._listen()
        now = _now()
        for poll in self._polls:
            poll.forget()
            poll.due = now
        self._running_since = now
        while True:
            upcoming = min(self._polls, key=lambda poll: poll.due, default=None)
            if upcoming is None:
                await self._watch_silence()
            else:
                await asyncio.sleep(max(0.0, upcoming.due - _now()))
                await self._poll(upcoming)
                upcoming.advance(_now(), self._quiet_until)

    async def _poll(self, poll: Poll) -> None:
        async with self._turn:
            began = _now()
            try:
                reading = await self._fetch(poll)
            except DeviceError as error:
                self._failed(poll, error)
            else:
                self._answered(poll, reading, began)

    def _answered(self, poll: Poll, reading: Reading, began: float) -> None:
        poll.succeeded(reading)
        values = {
            name: value
            for name, value in reading.values.items()
            if name not in self._pushed or self._pushed[name][1] < began
        }
        # A report takes a problem that is over off the screen.
        self._standing.report(values, reading.time, whole=self._standing.complained and not self._problems())
        self._complain()

    def _failed(self, poll: Poll, error: DeviceError) -> None:
        poll.failed(error)
        if self._is_gone():
            self._standing.offline(error)
            for each in self._polls:
                each.forget()
            return
        if isinstance(error, DeviceRefused):
            self._standing.there()
        self._complain()

    def _is_gone(self) -> bool:
        if not all(poll.error is not None and poll.error.transient for poll in self._polls):
            return False
        if not self._standing.online:
            return True
        webhook = self._settings.webhook
        silence = (webhook.silence if webhook is not None else None) or _SILENCE
        return _now() >= self._heard + silence and all(poll.failures > 1 for poll in self._polls)

    def _complain(self) -> None:
        self._standing.complain(self._problems(), _now())

    def _problems(self) -> list[DeviceError]:
        return [error for poll in self._polls for error in (poll.error, *poll.faults) if error is not None]

    async def _fetch(self, poll: Poll, *, fresh: bool = False) -> Reading:
        call = poll.prepared(fresh=fresh)
        return poll.take(call, await self._ask(call), self._of_device())

    async def _ask(self, call: Call) -> Answer:
        """Keeps to what the device asked for with Retry-After."""
        left = self._quiet_until - _now()
        if left > 0:
            raise DeviceUnreachable(f"{call}: the device asked to be left alone for another {left:.0f} s")
        answer = await self._of_device().ask(call)
        pause = retry_after(answer.headers, self._context.wall_ms()) if answer.status in (429, 503) else None
        if pause is not None:
            self._quiet_until = _now() + pause
        return answer

    def _of_device(self) -> Endpoint:
        assert self._endpoint is not None, "the settings see to it that whoever needs an address has one"
        return self._endpoint

    # --- pushes -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._inbox is None or self._stop_listening is not None:
            return
        try:
            self._stop_listening = self._context.webhook(self._webhook_path, self.take_push)
        except InvalidConfig as error:
            raise DeviceError(error.message) from error

    async def close(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None

    async def take_push(self, request: WebhookRequest) -> WebhookResponse:
        """The handler of the device's webhook. Raises MalformedText."""
        assert self._inbox is not None
        try:
            reading = self._inbox.read(request)
        except MalformedText as error:
            self._port.problem(DeviceReplyInvalid(f"webhook: {error.message}"))
            raise
        now = _now()
        self._heard = now
        self._beat.heard(now)
        if not self._polls:
            self.period = self._beat.period
        self._pushed.update({name: (value, now) for name, value in reading.values.items()})
        self._standing.report(reading.values, reading.time)
        for fault in reading.faults.values():
            self._port.problem(DeviceReplyInvalid(f"webhook: {fault.message}", **fault.detail))
        return WebhookResponse()

    async def _watch_silence(self) -> None:
        """For a device that only pushes: returns when it may have been silent for too long."""
        silence = None if self._settings.webhook is None else self._settings.webhook.silence
        if silence is None:
            await asyncio.get_running_loop().create_future()
            return
        until = max(self._heard, self._running_since) + silence
        await asyncio.sleep(max(0.0, until - _now()))
        if _now() >= max(self._heard, self._running_since) + silence:
            self._standing.offline(DeviceTimeout(f"the device pushed nothing for {silence:g} s"))
            await asyncio.sleep(silence)

    # --- one-off reads ----------------------------------------------------------------------------------------

    async def read(self) -> Mapping[str, Value]:
        values = {name: value for name, (value, _) in self._pushed.items()}
        problems: list[DeviceError] = []
        for poll in self._polls:
            try:
                async with self._turn:
                    reading = await self._fetch(poll, fresh=True)
            except DeviceError as error:
                problems.append(error)
            else:
                values.update(reading.values)
                problems += reading.faults.values()
        if not values:
            raise problems[0] if problems else DeviceRefused("the device only pushes, and has pushed nothing yet")
        for problem in problems:
            self._port.problem(problem)
        return values

    async def read_back(self, name: str) -> Value:
        poll = self._poll_of(name)
        if poll is None:
            return await super().read_back(name)
        async with self._turn:
            return await self._value(poll, name)

    def _poll_of(self, name: str) -> Poll | None:
        return next((poll for poll in self._polls if name in poll.names), None)

    async def _value(self, poll: Poll, name: str) -> Value:
        reading = await self._fetch(poll, fresh=True)
        if name in reading.faults:
            raise reading.faults[name]
        if name not in reading.values:
            raise DeviceReplyInvalid(f"{poll.call}: {name}: nothing there in the answer", property=name)
        return reading.values[name]

    # --- writing ----------------------------------------------------------------------------------------------

    async def write(self, name: str, value: Value) -> Written:
        command = self._commands.get(name)
        if command is None:
            raise not_writable(name)
        call = command.call(value)
        async with self._turn:
            answer = await self._ask(call)
        if not command.is_taken(answer.status):
            raise self._of_device().refusal(call, answer)
        poll = self._poll_of(name)
        return UNCONFIRMED if poll is None else await self._confirm(name, value, poll, command)

    async def _confirm(self, name: str, wanted: Value, poll: Poll, command: Command) -> Written:
        """Look until the device shows the value, or for as long as it may take."""
        deadline = _now() + command.settings.confirm_timeout
        pause = _LOOKS[0]
        while True:
            found: Value | DeviceError
            try:
                async with self._turn:
                    found = await self._value(poll, name)
                    self._standing.report({name: found}, whole=True)
            except DeviceError as error:
                found = error
            if not isinstance(found, DeviceError) and self.matches(name, wanted, found):
                return Written(confirmed=True, observed=found)
            if _now() + pause > deadline:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOKS[1])
        if isinstance(found, DeviceError):
            raise found
        raise WriteMismatch(
            f"{name} was set to {wanted!r}, but the device reports {found!r}", property=name, observed=found
        )

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        known = self._settings.properties.get(name)
        return equal(wanted, observed, known.tolerance if known is not None else 0.0)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _polls(settings: DeviceSettings, names: Names) -> list[Poll]:
    """The requests from which at least one property is picked."""
    picked: dict[str, list[str]] = {}
    for name, each in settings.properties.items():
        if each.pick is not None:
            picked.setdefault(settings.request_of(each), []).append(name)
    return [
        Poll(
            settings.requests[request],
            settings.period,
            [polled(name, settings.properties[name]) for name in members],
            names,
        )
        for request, members in picked.items()
    ]
