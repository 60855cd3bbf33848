"""How an adapter begins and ends: at once, alone, whatever its devices do, and leaving nothing."""

from __future__ import annotations

import asyncio
import math
import re

from twingateway.errors import DeviceError, InvalidValue
from twingateway.gateway.devices.adapter_runner import STOP_TIMEOUT
from twingateway.gateway.devices.device_runner import CLOSE_TIMEOUT
from twingateway.testing.adapter_contract.rig import Played, Rig, on_a_rig

_SNAKE = re.compile(r"[a-z][a-z0-9_]*")


class LifeContract(Played):
    """Beginning and ending."""

    @on_a_rig()
    async def test_opening_it_does_nothing_yet(self, rig: Rig) -> None:
        """`open` and `driver` make objects: no connection, no task, no file before `start` and `run`."""

        def standing() -> tuple[object, ...]:
            return len(rig.seam.tasks), rig.watch.connects, rig.watch.files()

        before = standing()
        adapter = rig.open()
        assert standing() == before, "`open` of the kind connected or began something: do that in start() or run()"
        await adapter.stop()
        await rig.adapter()
        before = standing()
        await rig.drive()
        assert standing() == before, "driver() connected or began something: do that in run(), read() and write()"

    @on_a_rig("fall_silent")
    async def test_starting_waits_for_no_device(self, rig: Rig) -> None:
        """A node starts its adapters whether or not devices answer."""
        await rig.device.fall_silent()
        await rig.in_time(rig.adapter(), "start() with a device that does not answer", STOP_TIMEOUT)

    @on_a_rig()
    async def test_it_ends_at_once_and_leaves_nothing(self, rig: Rig) -> None:
        """A device is removed: `run` ends as cancelled, `close` is quick, and no task, socket or thread is left."""
        driven = await rig.run()
        await rig.end(driven)

    @on_a_rig("fall_silent", "recover")
    async def test_it_ends_at_once_while_its_device_is_silent(self, rig: Rig) -> None:
        """A node that is asked to end does not wait for an answer that is under way."""
        driven = await rig.run()
        await rig.device.fall_silent()
        await asyncio.sleep(driven.driver.period or 0.5)
        await rig.end(driven)

    @on_a_rig("fall_silent", "recover")
    async def test_it_ends_at_once_while_it_is_dialling(self, rig: Rig) -> None:
        """A device that was never heard does not hold a node's end up."""
        await rig.device.fall_silent()
        driven = await rig.drive()
        rig.begin(driven)
        await asyncio.sleep(0.05)
        await rig.end(driven)

    @on_a_rig("cut", "recover")
    async def test_it_ends_at_once_while_its_device_is_away(self, rig: Rig) -> None:
        """Between two attempts to reach its device it can be ended, too."""
        await rig.device.cut()
        driven = await rig.drive()
        rig.begin(driven)
        await asyncio.sleep(0.5)
        await rig.end(driven)

    @on_a_rig("takes", "answers", "fall_silent", "recover")
    async def test_a_write_that_hangs_can_be_ended_and_confuses_nothing(self, rig: Rig) -> None:
        """A write is given up in the middle: it ends at once, and what is asked next gets its own answer."""
        driven = await rig.run()
        await rig.device.fall_silent()
        for name, (value, _) in rig.device.takes.items():
            write = asyncio.ensure_future(driven.driver.write(name, value))
            await asyncio.sleep(0.02)
            if not write.done():
                await rig.ends(write, f"write({name!r}, …) was cancelled while the device was silent")
            elif not write.cancelled():
                write.exception()
        await rig.device.recover()
        await _reads_right(rig)

    @on_a_rig("answers")
    async def test_a_read_that_is_given_up_confuses_nothing(self, rig: Rig) -> None:
        """A read is cancelled at any moment: what is asked next gets its own answer, not the late one."""
        driven = await rig.drive()
        for turns in range(12):
            read = asyncio.ensure_future(driven.driver.read())
            for _ in range(turns):
                await asyncio.sleep(0)
            read.cancel()
            await asyncio.wait([read], timeout=CLOSE_TIMEOUT)
            assert read.done(), "read() did not end though it was cancelled"
            if not read.cancelled():
                read.exception()
        await _reads_right(rig)

    @on_a_rig()
    async def test_ending_twice_does_no_harm(self, rig: Rig) -> None:
        """`close` and `stop` can be called again, and though nothing was ever begun."""
        driven = await rig.drive()
        await driven.driver.close()
        await driven.driver.close()
        adapter = await rig.adapter()
        await adapter.stop()
        await adapter.stop()
        never_started = rig.open()
        await never_started.stop()

    @on_a_rig()
    async def test_a_driver_is_made_anew_on_the_same_adapter(self, rig: Rig) -> None:
        """A device whose model changes gets a new driver when the former one was closed, without a restart."""
        await rig.end(await rig.run())
        await rig.run()

    @on_a_rig()
    async def test_an_adapter_is_opened_again_where_it_was(self, rig: Rig) -> None:
        """A node that restarts opens its adapter again, with what it kept in `data_dir`, be that damaged by then."""
        driven = await rig.run()
        if not rig.device.lacks(("spoil", "recover")):  # which may be worth remembering
            await rig.device.spoil(next(iter(rig.device.shows)))
            await asyncio.sleep(1.0)
            await rig.device.recover()
        await rig.end(driven)
        await rig.restart()
        await rig.end(await rig.run())
        folder = rig.context.data_dir
        for file in [] if folder is None else folder.rglob("*"):
            if file.is_file():
                file.write_bytes(b"\x00damaged")
        await rig.restart()
        await rig.run()

    @on_a_rig()
    async def test_what_it_counts_fits_the_metrics(self, rig: Rig) -> None:
        """Figures have names in snake case, finite values, and one help text and one set of labels for each name."""
        await rig.run()
        known: dict[str, tuple[object, ...]] = {}
        for figure in (await rig.adapter()).figures():
            assert _SNAKE.fullmatch(figure.name), f"the figure {figure.name!r} is to be named in snake case"
            assert math.isfinite(figure.value), f"the figure {figure.name} is {figure.value}: leave it out then"
            alike = (figure.help, figure.grows, frozenset(figure.labels))
            assert known.setdefault(figure.name, alike) == alike, (
                f"figures of the name {figure.name} differ in help, grows or labels: {alike} and {known[figure.name]}"
            )


async def _reads_right(rig: Rig) -> None:
    """What a driver reads now is what the device shows; one answer that failed may be in between."""
    driven = rig.driven[-1]
    for _ in range(3):
        try:
            values = await driven.driver.read()
        except (DeviceError, InvalidValue):
            await asyncio.sleep(1.0)
            continue
        for name, (value, _) in rig.device.shows.items():
            if name not in rig.device.takes:
                assert rig.is_same(driven, name, value, values.get(name)), (
                    f"{name} is read as {values.get(name)!r} and not {value!r} after a request was given up: a late "
                    f"answer was taken for another request's; number requests, or end the connection with a request"
                )
        return
    raise AssertionError("the device cannot be read any more after a request was given up")
