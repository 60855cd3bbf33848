"""One device on the broker: hears its topics, publishes its commands, and confirms them by what it reports.

Rule: only what the device says now is evidence. A retained message is its last word from some earlier time, so it is
reported at start, but neither confirms a command nor brings a device back that its last will has declared gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager

from twingateway.adapter import (
    UNCONFIRMED,
    Beat,
    BrokerClient,
    Device,
    DevicePort,
    Driver,
    Message,
    Value,
    Written,
    not_writable,
)
from twingateway.errors import (
    BrokerError,
    DeviceError,
    DeviceRefused,
    DeviceReplyInvalid,
    DeviceTimeout,
    DeviceUnreachable,
    WriteMismatch,
)
from twingateway_mqtt.payload import encode
from twingateway_mqtt.point import Command, Reading, StateTopic, commands, names_of, state_topics
from twingateway_mqtt.presence import Presence
from twingateway_mqtt.settings import DeviceSettings, Names

Listener = Callable[[Reading, bool], None]


class MqttDriver(Driver):
    def __init__(self, device: Device, port: DevicePort, broker: BrokerClient) -> None:
        settings: DeviceSettings = device.settings
        self._settings = settings
        self._port = port
        self._broker = broker
        self._names = Names(settings.address.base, device.id.name, device.id.namespace)
        self._topics = state_topics(settings, self._names, device.model)
        self._readable = names_of(self._topics)
        self._commands = commands(settings.properties, self._names, device.model)
        self.writable = frozenset(self._commands)
        self._values: dict[str, Value] = {}
        self._presence = Presence(settings.presence, 0.0)
        self._beat = Beat(settings.period)
        self.period = self._beat.period
        self._presence_changed = asyncio.Event()

    # --- listening --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        now = asyncio.get_running_loop().time
        presence = self._presence = Presence(self._settings.presence, now())
        self._values.clear()
        with self._hear_presence(), self._hear_state(self._on_reading):
            while True:
                self._presence_changed.clear()
                deadline = presence.deadline()
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._presence_changed.wait()
                except TimeoutError:
                    presence.poll(now())
                    if presence.gone is not None:
                        self._port.offline(presence.gone)

    @contextmanager
    def _hear_presence(self) -> Iterator[None]:
        settings = self._settings.presence
        if settings is None or settings.topic is None:
            yield
            return
        subscription = self._broker.subscribe(self._names.expand(settings.topic), self._on_presence)
        try:
            yield
        finally:
            subscription.cancel()

    @contextmanager
    def _hear_state(self, listener: Listener) -> Iterator[None]:
        def handler(topic: StateTopic) -> Callable[[Message], None]:
            def hear(message: Message) -> None:
                if message.payload:
                    listener(topic.read(message.payload), message.retain)

            return hear

        subscriptions = [self._broker.subscribe(topic.topic, handler(topic)) for topic in self._topics]
        try:
            yield
        finally:
            for subscription in subscriptions:
                subscription.cancel()

    def _on_presence(self, message: Message) -> None:
        if not message.payload:
            return
        was_gone = self._presence.gone is not None
        try:
            self._presence.told(message.payload, message.retain, asyncio.get_running_loop().time())
        except DeviceReplyInvalid as error:
            self._port.problem(DeviceReplyInvalid(f"{message.topic}: {error.message}"))
            return
        if self._presence.gone is not None:
            self._port.offline(self._presence.gone)
        elif was_gone and self._values:
            self._port.report(dict(self._values))
        else:
            self._port.online()
        self._presence_changed.set()

    def _on_reading(self, reading: Reading, retained: bool) -> None:
        self._values.update(reading.values)
        if not retained:
            now = asyncio.get_running_loop().time()
            self._presence.heard(now)
            self._presence_changed.set()
            self._beat.heard(now)
            self.period = self._beat.period
        if reading.values and self._presence.gone is None:
            self._port.report(reading.values, reading.time)
        for fault in reading.faults:
            self._port.problem(fault)

    # --- reading ----------------------------------------------------------------------------------------------

    async def read(self) -> Mapping[str, Value]:
        return await self._reported(self._readable)

    async def read_back(self, name: str) -> Value:
        if name not in self._readable:
            raise DeviceRefused(f"no state topic tells {name}", property=name)
        values = await self._reported({name})
        if name not in values:
            raise DeviceRefused(f"{name} cannot be read back", property=name)
        return values[name]

    async def _reported(self, names: Set[str]) -> Mapping[str, Value]:
        """What the device reports until these are told, or for `read_timeout`; what it has told before stands in for
        what it does not."""
        found: dict[str, Value] = {}
        faults: list[DeviceReplyInvalid] = []
        complete = asyncio.Event()

        def listen(reading: Reading, retained: bool) -> None:
            if retained and self._settings.read is not None:
                return
            newest = self._values if retained else {}
            found.update({name: newest.get(name, value) for name, value in reading.values.items()})
            faults.extend(reading.faults)
            if names <= found.keys():
                complete.set()

        with self._hear_state(listen):
            await self._request_state()
            try:
                async with asyncio.timeout(self._settings.read_timeout):
                    await complete.wait()
            except TimeoutError:
                if self._presence.gone is None:
                    found = {**self._values, **found}
        if not found:
            raise faults[-1] if faults else self._silent(self._settings.read_timeout)
        return found

    async def _request_state(self) -> None:
        request = self._settings.read
        if request is not None:
            await self._publish(self._names.expand(request.topic), encode(request.template, request.payload))

    async def _publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        try:
            await self._broker.publish(topic, payload, qos=qos, retain=retain)
        except BrokerError as error:
            raise DeviceUnreachable(error.message) from error

    @staticmethod
    def _silent(seconds: float) -> DeviceError:
        return DeviceTimeout(f"the device said nothing within {seconds:g} s")

    # --- writing ----------------------------------------------------------------------------------------------

    async def write(self, name: str, value: Value) -> Written:
        command = self._commands.get(name)
        if command is None:
            raise not_writable(name)
        if self._presence.gone is not None:
            raise DeviceUnreachable(self._presence.gone.message)
        settings = command.settings
        if not command.confirmable:
            await self._publish(command.topic, command.payload(value), settings.qos, settings.retain)
            return UNCONFIRMED
        return await self._write_and_confirm(name, value, command)

    async def _write_and_confirm(self, name: str, value: Value, command: Command) -> Written:
        observed: list[Value] = []
        confirmed: asyncio.Future[Value] = asyncio.get_running_loop().create_future()

        def listen(reading: Reading, retained: bool) -> None:
            if retained or name not in reading.values or confirmed.done():
                return
            observed.append(reading.values[name])
            if command.matches(value, observed[-1]):
                confirmed.set_result(observed[-1])

        settings = command.settings
        with self._hear_state(listen):
            await self._publish(command.topic, command.payload(value), settings.qos, settings.retain)
            try:
                async with asyncio.timeout(settings.confirm_timeout):
                    await self._request_state()
                    return Written(confirmed=True, observed=await confirmed)
            except TimeoutError:
                return self._unconfirmed(name, value, command, observed)

    def _unconfirmed(self, name: str, value: Value, command: Command, observed: list[Value]) -> Written:
        """The state topic did not say what was asked for in time."""
        if observed:
            raise WriteMismatch(
                f"{name} was set to {value!r}, but the device reports {observed[-1]!r}", observed=observed[-1]
            )
        if name in self._values and command.matches(value, self._values[name]):
            # Many devices say nothing when a command changes nothing; trying again would never end.
            return Written(confirmed=False, observed=self._values[name])
        raise self._silent(command.settings.confirm_timeout)

    def matches(self, name: str, wanted: Value, observed: Value) -> bool:
        command = self._commands.get(name)
        return command.matches(wanted, observed) if command is not None else wanted == observed
