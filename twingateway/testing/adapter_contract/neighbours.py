"""Several devices of one adapter: none has anything of another, and none suffers for another."""

from __future__ import annotations

import asyncio

from twingateway.testing.adapter_contract.rig import Played, Rig, on_a_rig

#: Seconds in which what is mixed up would be reported.
_WHILE = 1.0


class NeighbourContract(Played):
    """Two devices."""

    @on_a_rig("show")
    async def test_two_devices_have_nothing_of_each_other(self, rig: Rig) -> None:
        """Each device reports its own values: drivers of one adapter share no state of their devices."""
        second = await rig.another()
        one, other = await rig.run(), await rig.run(second, "device-2")
        reported = len(one.port.reports)
        for name, (_, value) in second.shows.items():
            await second.show(name, value)
            await rig.until_told(other, name, value, "each of two devices is reported")
        await asyncio.sleep(_WHILE)
        for report in one.port.reports[reported:]:
            for name, (kept, _) in second.shows.items():
                assert name not in report.values or rig.is_same(one, name, kept, report.values[name]), (
                    f"{name} of one device was reported as {report.values[name]!r}, which is the other's: keep what "
                    f"belongs to a device in its driver, not in the class or the module"
                )

    @on_a_rig("takes", "held")
    async def test_a_write_goes_to_its_own_device(self, rig: Rig) -> None:
        """What is written to one device leaves the other as it was."""
        second = await rig.another()
        one, other = await rig.run(), await rig.run(second, "device-2")
        for name, (value, _) in rig.device.takes.items():
            before = await second.held(name)
            await one.driver.write(name, value)
            held = await second.held(name)
            assert rig.is_same(other, name, before, held), (
                f"write({name!r}, {value!r}) to one device changed the other to {held!r}: each has its own address"
            )

    @on_a_rig("cut", "recover", "show")
    async def test_a_device_that_is_away_takes_no_other_with_it(self, rig: Rig) -> None:
        """While one device is away its neighbour is reported as before."""
        second = await rig.another()
        one, other = await rig.run(), await rig.run(second, "device-2")
        await rig.device.cut()
        await rig.until(lambda: one.port.presence is False, lambda: f"the loss was not noticed: {one.story()}")
        for name, (_, value) in second.shows.items():
            await second.show(name, value)
            await rig.until_told(other, name, value, "a device is reported while its neighbour is away")

    @on_a_rig("show")
    async def test_a_device_that_is_removed_takes_no_other_with_it(self, rig: Rig) -> None:
        """A driver that is closed releases what it alone uses: its neighbour goes on."""
        second = await rig.another()
        one, other = await rig.run(), await rig.run(second, "device-2")
        await rig.end(one)
        for name, (_, value) in second.shows.items():
            await second.show(name, value)
            await rig.until_told(other, name, value, "a device is reported after its neighbour was removed")
