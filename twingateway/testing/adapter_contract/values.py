"""What a driver tells of its device: everything, as it is, and what is wrong with one property of that one alone."""

from __future__ import annotations

import asyncio
import time

from twingateway.adapter import Judge
from twingateway.errors import InvalidValue, TooLarge
from twingateway.gateway.devices.reporter import STALE_LEAST, STALE_PERIODS
from twingateway.testing.adapter_contract.rig import Driven, Played, Rig, on_a_rig
from twingateway.twin.presence import PresenceState

#: The longest period, in seconds, that a test waits for.
_SHORT = 10.0
#: Seconds in which a driver that told what is wrong has also reported what it takes for a value: some of its rounds.
_AFTERWARDS = 1.0
#: A day, in milliseconds.
_DAY = 86_400_000


class ValuesContract(Played):
    """Reading and reporting."""

    @on_a_rig()
    async def test_everything_is_reported_and_fits_the_model(self, rig: Rig) -> None:
        """Soon after it began `run` has reported every property, as values that the device's model allows."""
        driven = await rig.run()
        assert driven.port.presence is True, f"a device that reports is online: {driven.story()}"
        if rig.model is None:
            return
        judge = Judge(rig.model)
        for name, value in driven.port.values.items():
            try:
                judge.reported(name, value)
            except (InvalidValue, TooLarge) as error:
                raise AssertionError(f"the model refuses what was reported: {error.message}; convert it") from None

    @on_a_rig("show")
    async def test_a_change_at_the_device_is_reported(self, rig: Rig) -> None:
        """What changes at the device comes to the twin by itself."""
        driven = await rig.run()
        for name, (_, value) in rig.device.shows.items():
            await rig.device.show(name, value)
            await rig.until_told(driven, name, value, "run() reports what changes")

    @on_a_rig("answers")
    async def test_a_device_is_read_once_without_running(self, rig: Rig) -> None:
        """`twingateway check` reads a device once: `read` gives every readable property though nothing runs."""
        driven = await rig.drive()
        await self._reads_all(rig, driven)

    @on_a_rig("answers")
    async def test_a_device_is_read_while_it_is_polled(self, rig: Rig) -> None:
        """The host may call `read` while `run` is under way; neither disturbs the other."""
        driven = await rig.run()
        await self._reads_all(rig, driven)
        await self._reads_all(rig, driven)
        assert driven.task is not None
        assert not driven.task.done(), f"read() made run() end: {driven.story()}"

    @on_a_rig("spoil", "recover")
    async def test_one_bad_property_hides_no_other(self, rig: Rig) -> None:
        """A property that cannot be read is told of, and the others are reported as before; the device is there."""
        driven = await rig.run()
        bad, *good = rig.device.shows
        await rig.device.spoil(bad)
        await rig.until(
            lambda: driven.port.problems or driven.port.bad or driven.port.presence is False,
            lambda: f"{bad} cannot be read: say so with port.problem(error) or port.quality({{{bad!r}: error}})",
        )
        for name in good:
            value = rig.device.shows[name][1]
            await rig.device.show(name, value)
            rule = f"{name} goes on being reported while {bad} cannot be read; raise nothing for one property"
            await rig.until_told(driven, name, value, rule)
        assert driven.port.presence is True, f"one bad property takes no device offline: {driven.story()}"
        told = driven.port.bad.get(bad) or driven.port.problems[-1]
        assert bad in told.message or bad in str(told.detail), (
            f"{told.message!r} does not say which property is bad: name {bad} in it"
        )

    @on_a_rig("spoil", "recover")
    async def test_a_property_that_is_well_again_is_good(self, rig: Rig) -> None:
        """`port.quality` lists what is bad at present: a property that recovered is taken off, and reported."""
        driven = await rig.run()
        bad = next(iter(rig.device.shows))
        await rig.device.spoil(bad)
        await rig.until(lambda: driven.port.problems or driven.port.bad, lambda: f"nothing was said of {bad}")
        await rig.device.recover()
        value = rig.device.shows[bad][1]
        await rig.device.show(bad, value)
        await rig.until_told(driven, bad, value, f"{bad} can be read again, and is reported again")
        await rig.until(
            lambda: bad not in driven.port.bad,
            lambda: (
                f"{bad} is well and still called bad: call port.quality with what is bad now, an empty mapping too"
            ),
        )

    @on_a_rig("talk_nonsense", "recover", "show")
    async def test_nonsense_is_not_reported_and_passes(self, rig: Rig) -> None:
        """A device that says what it must not is told of; nothing of that is used, and sense is heard again."""
        driven = await rig.run()
        before = len(driven.port.reports)
        await rig.device.talk_nonsense()
        await rig.until(
            lambda: driven.port.problems or driven.port.presence is False,
            lambda: "nothing was said of a device that talks nonsense: raise, or tell, a DeviceReplyInvalid",
        )
        await asyncio.sleep(_AFTERWARDS)
        shows = rig.device.shows
        for report in driven.port.reports[before:]:
            for name, value in report.values.items():
                assert name not in shows or any(rig.is_same(driven, name, each, value) for each in shows[name]), (
                    f"{name} was reported as {value!r} while it talks nonsense: check an answer as a whole first"
                )
        await rig.device.recover()
        name, (_, value) = next(iter(rig.device.shows.items()))
        await rig.device.show(name, value)
        await rig.until_told(driven, name, value, "a device that talks sense again is heard")

    @on_a_rig("dawdle", "recover", "show")
    async def test_an_answer_that_comes_late_is_not_taken_for_another(self, rig: Rig) -> None:
        """A device answers when nobody waits any more: what is asked next gets its own answer, not that."""
        driven = await rig.run()
        await rig.device.dawdle()
        await rig.until(
            lambda: driven.port.problems or driven.port.presence is False,
            lambda: "nothing was said of a device that answers too late: raise DeviceTimeout",
        )
        reported = len(driven.port.reports)
        await rig.device.recover()
        for name, (_, value) in rig.device.shows.items():
            await rig.device.show(name, value)

        def wrong() -> str:
            """A property that was reported with what it never had."""
            for name, shown in rig.device.shows.items():
                for report in driven.port.reports[reported:]:
                    value = report.values.get(name, shown[0])
                    if not any(rig.is_same(driven, name, each, value) for each in shown):
                        return f"{name} was reported as {value!r}"
            return ""

        def is_heard() -> bool:
            shows = rig.device.shows.items()
            return all(rig.is_same(driven, name, shown[1], driven.port.values[name]) for name, shown in shows)

        await rig.until(
            lambda: wrong() or is_heard(),
            lambda: f"a device that answers in time again is heard, with what it shows then: {driven.story()}",
        )
        assert not wrong(), (
            f"{wrong()}, the answer to another request: number requests, or end the connection with one that got no "
            f"answer in time"
        )

    @on_a_rig("date", "show")
    async def test_the_devices_own_time_is_passed_on(self, rig: Rig) -> None:
        """Values of a device that has a clock are reported with its time, in Unix milliseconds."""
        driven = await rig.run()
        yesterday = time.time_ns() // 1_000_000 - _DAY
        await rig.device.date(yesterday)
        name, (_, value) = next(iter(rig.device.shows.items()))
        await rig.device.show(name, value)
        await rig.until_told(driven, name, value, "run() reports what changes")
        told = next(report.time for report in reversed(driven.port.reports) if name in report.values)
        assert told is not None, "the device told its time: pass it to port.report(…, time=…)"
        assert abs(told - yesterday) < 1000, f"the device said {yesterday}, and time={told} was reported"

    @on_a_rig()
    async def test_a_device_that_is_well_is_never_stale(self, rig: Rig) -> None:
        """Who states a `period` says something of a device that is well within it, though nothing changes."""
        driven = await rig.drive()
        period = driven.driver.period
        await rig.end(driven)
        assert period is None or period > 0, f"period is {period!r}: it is in seconds, or None"
        if period is None or period > _SHORT:
            return
        async with rig.node() as node:
            await rig.until(
                lambda: node.presence.state is PresenceState.ONLINE, lambda: f"not online: {node.story()}"
            )
            end = asyncio.get_running_loop().time() + max(STALE_PERIODS * period, STALE_LEAST) + 2.0
            while asyncio.get_running_loop().time() < end:
                assert node.presence.state is PresenceState.ONLINE, (
                    f"a device that is well was shown as {node.presence.state}: {node.presence.message}; call "
                    f"port.online() in each round without news, or state a longer period (it is {period:g} s)"
                )
                await asyncio.sleep(0.05)

    async def _reads_all(self, rig: Rig, driven: Driven) -> None:
        values = await driven.driver.read()
        for name, (value, _) in rig.device.shows.items():
            assert name in values, f"read() did not give {name}: it gives every readable property, once"
            assert rig.is_same(driven, name, value, values[name]), (
                f"read() gave {name} = {values[name]!r}; the device has {value!r}"
            )
