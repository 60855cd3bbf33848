"""What becomes of a device that goes away, in a whole node: it is shown so, left in peace, and heard again."""

from __future__ import annotations

import asyncio

from twingateway.errors import AdapterFault, DeviceError, all_errors
from twingateway.gateway.devices.adapter_runner import STOP_TIMEOUT
from twingateway.testing.adapter_contract.node import Node
from twingateway.testing.adapter_contract.rig import Played, Rig, on_a_rig
from twingateway.twin.ack import AckState
from twingateway.twin.equality import same
from twingateway.twin.presence import PresenceState

#: How long a device is away, in seconds, while it is counted how often it is tried; and how often it may be.
_AWAY = 10.0
_MOST_TRIES = 30
#: Codes that tell what is wrong with a device.
_CODES = frozenset(error.code for error in all_errors(DeviceError)) | {"silent", "unheard"}


class OutageContract(Played):
    """In a node."""

    @on_a_rig()
    async def test_in_a_node_its_twin_shows_it(self, rig: Rig) -> None:
        """In a node the device is online, its values are in its twin, and none of them is refused."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            assert node.refused is None, f"the node refuses what is reported: {node.refused}"

    @on_a_rig("takes")
    async def test_in_a_node_desired_values_are_applied(self, rig: Rig) -> None:
        """What is desired of the device's twin is written, and shown as applied, or delivered if nobody can know."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            for name, values in rig.device.takes.items():
                for value in values:
                    await node.desire(name, value)
                    await _ends(rig, node, name, {AckState.APPLIED, AckState.DELIVERED})

    @on_a_rig("takes", "refuse", "recover")
    async def test_in_a_node_a_devices_no_is_shown(self, rig: Rig) -> None:
        """A desired value that the device refuses ends as failed, with a code that tells whose fault it is."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            for name, (value, _) in rig.device.takes.items():
                await rig.device.refuse(name)
                await node.desire(name, value)
                await _ends(rig, node, name, {AckState.FAILED})
                ack = node.ack(name)
                assert ack is not None
                assert ack.code in _CODES, (
                    f"a refused value ended with {ack.code!r} ({ack.message}): raise DeviceRefused"
                )

    @on_a_rig("cut", "recover")
    async def test_a_device_that_is_not_there_comes_by_itself(self, rig: Rig) -> None:
        """A device that is off when a node starts is shown offline, with the reason, and online when it is there."""
        await rig.device.cut()
        async with rig.node() as node:
            await _is_gone(rig, node)
            await rig.device.recover()
            await _is_shown(rig, node, rig.device.returns)

    @on_a_rig("cut", "recover", "show")
    async def test_a_device_that_goes_away_comes_back_by_itself(self, rig: Rig) -> None:
        """A device that is lost is shown as such within its time, and with what it then shows when it is back."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            await rig.device.cut()
            await _is_gone(rig, node)
            await rig.device.recover()
            name, (_, value) = next(iter(rig.device.shows.items()))
            await rig.device.show(name, value)
            await rig.until(
                lambda: node.presence.state is PresenceState.ONLINE and same(node.value(name), value),
                lambda: f"a device that is back is heard by itself, with what it shows then: {node.story()}",
                rig.device.returns,
            )

    @on_a_rig("fall_silent", "recover")
    async def test_a_silent_device_is_shown_as_such(self, rig: Rig) -> None:
        """A device that is connected and says nothing is not shown as online for ever; it is heard when it speaks."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            await rig.device.fall_silent()
            await _is_gone(rig, node)
            await rig.device.recover()
            await _is_shown(rig, node, rig.device.returns)

    @on_a_rig("cut", "recover")
    async def test_a_device_that_is_away_is_left_in_peace(self, rig: Rig) -> None:
        """While a device is away it is tried now and then, not in a busy loop: others share its line."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            await rig.device.cut()
            await _is_gone(rig, node)
            before, lines = rig.watch.connects + rig.device.attempts, len(rig.logs.texts())
            await asyncio.sleep(_AWAY)
            lines = len(rig.logs.texts()) - lines
            assert lines <= _MOST_TRIES, f"{lines} lines were logged in {_AWAY:g} s of its absence: say a thing once"
            tries = rig.watch.connects + rig.device.attempts - before
            assert tries <= _MOST_TRIES, (
                f"it was tried {tries} times in {_AWAY:g} s while it was away, at most {_MOST_TRIES} are borne: "
                f"raise the DeviceError from run(), and the host waits 1 s, doubling to 60 s; or do so yourself"
            )

    @on_a_rig("takes", "cut", "held", "recover")
    async def test_what_is_desired_meanwhile_is_applied_when_it_is_back(self, rig: Rig) -> None:
        """A value that is desired while the device is away reaches it when it is back, without anybody's doing."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            await rig.device.cut()
            await _is_gone(rig, node)
            name, (value, _) = next(iter(rig.device.takes.items()))
            await node.desire(name, value)
            await rig.device.recover()
            await _is_shown(rig, node, rig.device.returns, without=name)
            await _ends(rig, node, name, {AckState.APPLIED, AckState.DELIVERED}, rig.device.returns)
            held = await rig.device.held(name)
            assert same(held, value), f"{value!r} was desired of {name} while it was away; it holds {held!r}"

    @on_a_rig("fall_silent", "recover")
    async def test_a_node_ends_in_time_whatever_its_device_does(self, rig: Rig) -> None:
        """A node that is asked to end gives adapters two seconds, also with a device that does not answer."""
        async with rig.node() as node:
            await _is_shown(rig, node)
            await rig.device.fall_silent()
            for name, (value, _) in rig.device.takes.items():
                await node.desire(name, value)
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            await node.stop()
            took = asyncio.get_running_loop().time() - began
            assert took < STOP_TIMEOUT, f"it took {took:.1f} s to stop the device and the adapter: wait for no answer"


async def _is_shown(rig: Rig, node: Node, seconds: float = 0.0, without: str = "") -> None:
    """It is online, with the values that it has at the start."""

    def shown() -> bool:
        values = {name: pair[0] for name, pair in rig.device.shows.items() if name != without}
        online = node.presence.state is PresenceState.ONLINE
        return online and all(same(node.value(name), value) for name, value in values.items())

    await rig.until(
        shown, lambda: f"a device that is there is shown online, with its values: {node.story()}", seconds
    )


async def _is_gone(rig: Rig, node: Node) -> None:
    """It is not shown as online any more, with a reason of its own."""
    gone = (PresenceState.OFFLINE, PresenceState.STALE)
    await rig.until(
        lambda: node.presence.state in gone,
        lambda: (
            f"a device that is gone was not shown so: raise DeviceUnreachable or DeviceTimeout from run(), or call "
            f"port.offline(error): {node.story()}"
        ),
        rig.device.notices,
    )
    code, message = node.presence.code, node.presence.message
    assert code != AdapterFault.code, f"a device that is gone is shown as a fault of the adapter: {message}"
    assert code in _CODES, f"a device is gone with the code {code!r}"
    assert message.strip(), "a device is gone without a word: give the error a message for people"


async def _ends(rig: Rig, node: Node, name: str, states: set[AckState], seconds: float = 0.0) -> None:
    def ended() -> bool:
        ack = node.ack(name)
        return ack is not None and ack.state in states and (ack.settled or ack.code == "unconfirmed")

    wanted = " or ".join(sorted(states))
    await rig.until(ended, lambda: f"the desired value of {name} did not end as {wanted}: {node.story()}", seconds)
