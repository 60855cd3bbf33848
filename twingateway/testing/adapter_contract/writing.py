"""What a driver makes of desired values: nothing is called done that the device does not have, and a no is said."""

from __future__ import annotations

import asyncio

from twingateway.adapter import Value, Written
from twingateway.errors import DeviceError, DeviceRefused, InvalidValue
from twingateway.gateway.devices.setter import ASK_TIMEOUT
from twingateway.testing.adapter_contract.rig import Driven, Played, Rig, on_a_rig

#: Values of which at most a few are of a property's type.
_ODD: tuple[Value, ...] = (None, True, -1, 0.5, 2**53 - 1, "", "no such word", [], [1], {}, {"a": 1})
_NAME = "no-such-property"
#: The most seconds in which it is looked at what is reported after a write.
_PAUSE = 0.5


class WritingContract(Played):
    """Writing and reading back."""

    @on_a_rig("takes")
    async def test_it_says_what_can_be_written(self, rig: Rig) -> None:
        """`writable` names exactly what `write` can write: the host rejects everything else without asking."""
        driven = await rig.drive()
        writable = driven.driver.writable
        assert isinstance(writable, frozenset), f"writable is a {type(writable).__name__}: it is a frozenset of names"
        assert writable == set(rig.device.takes), (
            f"writable is {sorted(writable)}, the played device takes {sorted(rig.device.takes)}: make them the same"
        )

    @on_a_rig("takes", "held")
    async def test_a_write_is_done_when_it_returns(self, rig: Rig) -> None:
        """When `write` returns the device has the value; `confirmed` only if the device itself said so."""
        driven = await rig.run()
        for name, values in rig.device.takes.items():
            for value in values:
                written = await driven.driver.write(name, value)
                held = await rig.device.held(name)
                assert rig.is_same(driven, name, value, held), (
                    f"write({name!r}, {value!r}) returned {written} while the device holds {held!r}: await its answer"
                )
                _is_consistent(driven, name, value, written)

    @on_a_rig("takes", "held")
    async def test_what_was_written_is_read_back(self, rig: Rig) -> None:
        """`read_back` gives what the device holds within a second, or says at once that nobody can know."""
        driven = await rig.run()
        for name, values in rig.device.takes.items():
            for value in values:
                await driven.driver.write(name, value)
                try:
                    async with asyncio.timeout(ASK_TIMEOUT):
                        seen = await driven.driver.read_back(name)
                except DeviceRefused:
                    continue
                except TimeoutError:
                    raise AssertionError(
                        f"read_back({name!r}) took more than {ASK_TIMEOUT:g} s: the host waits no longer before a "
                        f"first write; raise DeviceRefused at once for what cannot be read"
                    ) from None
                assert driven.driver.matches(name, value, seen), (
                    f"read_back({name!r}) gave {seen!r} after {value!r} was written and is held by the device"
                )

    @on_a_rig("takes", "fall_silent", "recover")
    async def test_without_an_answer_nothing_is_confirmed(self, rig: Rig) -> None:
        """A device that does not answer a write has not confirmed it; that is a passing error, or unconfirmed."""
        driven = await rig.run()
        await rig.device.fall_silent()
        for name, (value, _) in rig.device.takes.items():
            came = await _write(driven, name, value)
            assert isinstance(came, Written) or (isinstance(came, DeviceError) and came.transient), (
                f"a silent device made write({name!r}, …) raise {type(came).__name__}, which ends the desired value: "
                f"raise DeviceTimeout or DeviceUnreachable, so that it is tried again"
            )
            confirmed = isinstance(came, Written) and came.confirmed
            assert not confirmed, f"write({name!r}, {value!r}) was confirmed by a device that said nothing"

    @on_a_rig("takes", "cut", "recover")
    async def test_a_write_to_a_device_that_just_went_is_tried_again(self, rig: Rig) -> None:
        """A connection is lost and nobody has noticed yet: a write then is a passing error, and not the end of it."""
        driven = await rig.run()
        await rig.device.cut()
        for name, (value, _) in rig.device.takes.items():
            came = await _write(driven, name, value)
            assert isinstance(came, DeviceError), f"write({name!r}, {value!r}) came to {came!r} while it was away"
            assert came.transient, (
                f"a device that is away made write({name!r}, …) raise {type(came).__name__}, which ends the desired "
                f"value: raise DeviceUnreachable, so that it is tried again"
            )

    @on_a_rig("takes")
    async def test_no_older_value_follows_a_written_one(self, rig: Rig) -> None:
        """Once `write` has returned nothing is reported that was read before it: the twin would jump back."""
        driven = await rig.run()
        pause = min(3 * (driven.driver.period or _PAUSE), _PAUSE)
        for name, values in rig.device.takes.items():
            for value in (*values, *values, *values):
                written = await driven.driver.write(name, value)
                said = len(driven.port.reports)
                await asyncio.sleep(pause)
                for report in driven.port.reports[said:] if written.confirmed else ():
                    seen = report.values.get(name, value)
                    assert driven.driver.matches(name, value, seen), (
                        f"{name} was reported as {seen!r} after write({name!r}, {value!r}) had returned: hold one "
                        f"lock over reading and reporting, and over writing"
                    )

    @on_a_rig("takes", "ignore", "recover")
    async def test_a_value_that_is_not_kept_is_not_confirmed(self, rig: Rig) -> None:
        """A device that says yes and keeps another value has not taken it: the twin must not show it as applied."""
        driven = await rig.run()
        for name, (value, _) in rig.device.takes.items():
            await rig.device.ignore(name)
            came = await _write(driven, name, value)
            assert not (isinstance(came, Written) and came.confirmed), (
                f"write({name!r}, {value!r}) was confirmed, and the device keeps another value: read it back after "
                f"the write, and return confirmed=False with what was `observed`, or raise WriteMismatch"
            )

    @on_a_rig("takes", "refuse", "recover")
    async def test_a_devices_no_is_said_as_such(self, rig: Rig) -> None:
        """A device that says no ends the desired value with its reason: DeviceRefused, and nothing is tried again."""
        driven = await rig.run()
        for name, (value, _) in rig.device.takes.items():
            await rig.device.refuse(name)
            came = await _write(driven, name, value)
            assert isinstance(came, Exception), (
                f"the device said no to {name}, and write returned {came}: raise DeviceRefused"
            )
            assert not (isinstance(came, DeviceError) and came.transient), (
                f"the device said no to {name}, and write raised {type(came).__name__}: that is tried again for "
                f"ever; raise DeviceRefused"
            )

    @on_a_rig()
    async def test_what_it_does_not_have_is_refused_in_words(self, rig: Rig) -> None:
        """What is unknown, or cannot be written, is an InvalidValue; reading back what is unknown, DeviceRefused."""
        driven = await rig.run()
        for name in (_NAME, *(each for each in rig.device.shows if each not in rig.device.takes)):
            came = await _write(driven, name, 1)
            assert isinstance(came, InvalidValue), (
                f"write({name!r}, 1) came to {came!r}, though it is not writable: raise not_writable(name)"
            )
            assert name in came.message, f"{came.message!r} does not name {name}: raise not_writable(name)"
        try:
            value = await driven.driver.read_back(_NAME)
        except DeviceError:
            return
        raise AssertionError(f"read_back({_NAME!r}) gave {value!r}: raise DeviceRefused")

    @on_a_rig("takes")
    async def test_a_value_of_another_type_is_refused_in_words(self, rig: Rig) -> None:
        """A value that the device has no way to hold is an InvalidValue that names the property; no bare error."""
        driven = await rig.run()
        for name in rig.device.takes:
            for value in _ODD:
                came = await _write(driven, name, value)
                if isinstance(came, Written):
                    _is_consistent(driven, name, value, came)
                named = not isinstance(came, InvalidValue) or name in came.message
                assert named, f"{came} does not name {name}: InvalidValue(Problem(message, name, rule))"

    @on_a_rig("takes")
    async def test_it_tells_values_apart(self, rig: Rig) -> None:
        """`matches` says whether the device has what was wanted; it is asked of any two values and never raises."""
        driven = await rig.drive()
        for name, (one, other) in rig.device.takes.items():
            assert driven.driver.matches(name, one, one) is True, f"matches({name!r}, {one!r}, {one!r}) is not True"
            assert driven.driver.matches(name, one, other) is False, (
                f"matches({name!r}, {one!r}, {other!r}) is not False: a desired value would never be written"
            )
            for value in _ODD:
                try:
                    driven.driver.matches(name, one, value)
                    driven.driver.matches(name, value, one)
                except Exception as error:
                    raise AssertionError(
                        f"matches({name!r}, …) raised {error!r} for {one!r} and {value!r}: return False instead"
                    ) from error


async def _write(driven: Driven, name: str, value: Value) -> Written | DeviceError | InvalidValue:
    """What came of it; whatever else is raised is a fault of the seam."""
    try:
        return await driven.driver.write(name, value)
    except (DeviceError, InvalidValue) as error:
        return error


def _is_consistent(driven: Driven, name: str, value: Value, written: Written) -> None:
    if written.confirmed:
        assert driven.driver.matches(name, value, written.observed), (
            f"write({name!r}, {value!r}) was confirmed with {written.observed!r}, which does not match: confirmed "
            f"means that `observed` is what was asked for"
        )
