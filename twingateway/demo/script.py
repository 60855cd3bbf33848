"""The demo's story: wait for all twins, set values at the cloud, cut the link, and prove at the end that twins and
devices agree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twingateway.demo.board import Board
from twingateway.demo.comparison import Mismatch, agree, compare
from twingateway.demo.failure import DemoFailed
from twingateway.demo.narrator import Narrator
from twingateway.demo.node_api import NodeApi
from twingateway.demo.processes import Child

#: Set one after the other, each waited for: device, property, value.
SETS: tuple[tuple[str, str, Any], ...] = (
    ("hvac", "setpoint", 23.5),
    ("lamp", "brightness", 75),
    ("pump", "speed", 2100),
    ("charger", "limit", 12),
)
#: Set together while the link is cut.
SETS_IN_THE_DARK: tuple[tuple[str, str, Any], ...] = (
    ("hvac", "setpoint", 19.5),
    ("lamp", "on", False),
    ("heatpump", "setpoint", 48.5),
)

#: Seconds: for all properties to arrive, for one desired value to be applied, for the outage's to be, for the final
#: silence to come; how long the silence has to last (longer than any device is polled), and what ending takes.
ARRIVE, APPLY, RECOVER, HUSH, SILENCE, ENDING = 30.0, 15.0, 30.0, 15.0, 1.5, 2.5


@dataclass(slots=True)
class Outcome:
    """What the story came to. `applied`: acknowledged, and found on the device itself."""

    desired_set: int = 0
    desired_applied: int = 0
    outage_seconds: float = 0.0
    recovery_seconds: float | None = None
    mismatches: list[Mismatch] = field(default_factory=list)
    compared: int = 0
    failures: list[str] = field(default_factory=list)
    packets_lost: int = 0
    packets: int = 0
    updates: int = 0


@dataclass(slots=True)
class Stage:
    """Everything the story plays with. `sites`: protocol → the process that plays its devices."""

    cloud: NodeApi
    edge: NodeApi
    board: Board
    relay: Child
    truth: Child
    sites: dict[str, Child]
    narrator: Narrator


class Story:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._say = stage.narrator.say
        self._devices = {device.name: device for device in stage.board.devices}
        self.outcome = Outcome()

    async def everything_arrives(self) -> None:
        board = self._stage.board
        if not await _until(lambda: not any(board.missing()), ARRIVE):
            missing = sorted(board.missing())
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise DemoFailed(f"not at the cloud after {ARRIVE:g} s: {', '.join(missing[:8])}{more}")
        protocols = sorted({device.adapter for device in board.devices})
        self._say(
            f"{len(board.devices)} devices with {len(board.rows)} properties are twins at the cloud "
            f"({', '.join(protocols)})"
        )
        board.latencies.begin(_now())

    async def desired_values_are_applied(self) -> None:
        for device, name, value in SETS:
            began = time.monotonic()
            self.outcome.desired_set += 1
            ack = await self._stage.cloud.set(device, name, value, wait=APPLY)
            took = (time.monotonic() - began) * 1000
            await self._check_applied(device, name, value, ack, f"after {took:.0f} ms")

    async def the_link_is_cut(self, seconds: float) -> None:
        """Desired values set meanwhile wait, and are applied once it is back."""
        stage, outcome = self._stage, self.outcome
        async with self._outage():
            self._say(f"the link is cut for {seconds:.1f} s; values change on both sides")
            await asyncio.sleep(seconds / 2)
            for device, name, value in SETS_IN_THE_DARK:
                outcome.desired_set += 1
                ack = await stage.cloud.set(device, name, value)
                self._say(f"    cloud sets {device}.{name} = {_text(value)}: {ack.get('state')}")
            await asyncio.sleep(seconds / 2)
        began = time.monotonic()
        self._say("the link is back")
        for device, name, value in SETS_IN_THE_DARK:
            ack = await self._settled(device, name, began + RECOVER)
            await self._check_applied(device, name, value, ack, "after the outage")
        outcome.recovery_seconds = round(time.monotonic() - began, 2)

    async def the_proof(self, corrupt: str | None) -> None:
        """Everything stands still; then devices and twins are compared."""
        stage, outcome = self._stage, self.outcome
        await asyncio.gather(*(site.ask("freeze") for site in stage.sites.values()))
        if corrupt is not None:
            await self._corrupt(corrupt)
        self._say("the machines stand still; waiting until nothing moves any more")
        await self._hush()
        truth = await stage.truth.ask("read")
        twins = await stage.cloud.twins()
        shown = {name: twin["spec"]["reportedProperties"] for name, twin in twins.items()}
        outcome.mismatches = compare(stage.board.devices, truth, shown)
        outcome.compared = len(stage.board.rows)
        outcome.updates = round(await stage.cloud.metric("twingateway_register_versions_durable_total"))
        traffic = await stage.relay.ask("traffic")
        outcome.packets = sum(way["packets"] for way in traffic.values())
        outcome.packets_lost = sum(way["lost"] for way in traffic.values())

    async def _hush(self) -> None:
        """Every device was polled again, the cloud heard nothing new, and the edge has nothing left to send."""
        board, frozen = self._stage.board, _now()
        deadline = time.monotonic() + HUSH
        await _until(lambda: _now() - max(frozen, board.last_seen) > SILENCE * 1000, HUSH)
        while await self._stage.edge.metric("twingateway_peer_waiting") and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    async def _corrupt(self, device: str) -> None:
        adapter = self._devices[device].adapter
        number = {"inverter": "1", "meter": "2", "hvac": "3"}.get(device, device)
        await self._stage.sites[adapter].ask(f"corrupt {number}")

    @asynccontextmanager
    async def _outage(self) -> AsyncIterator[None]:
        relay, latencies = self._stage.relay, self._stage.board.latencies
        cut = _now()
        await relay.ask("cut")
        try:
            yield
        finally:
            await relay.ask("restore")
            restored = _now()
            latencies.outage(cut, restored)
            self.outcome.outage_seconds = round(self.outcome.outage_seconds + (restored - cut) / 1000, 2)

    async def _settled(self, device: str, name: str, deadline: float) -> dict[str, Any]:
        """The ack, once it is neither pending nor delivered, or at the deadline (monotonic)."""
        while True:
            ack = await self._stage.cloud.ack(device, name)
            if ack.get("state") not in ("pending", "delivered") or time.monotonic() > deadline:
                return ack
            await asyncio.sleep(0.05)

    async def _check_applied(self, device: str, name: str, value: Any, ack: dict[str, Any], when: str) -> None:
        state = ack.get("state")
        truth = await self._stage.truth.ask("read")
        held = truth[device].get(name)
        on_device = agree(held, value, self._devices[device].tolerances[name])
        said = f"{device}.{name} = {_text(value)}: {state} {when}; the device itself says {_text(held)}"
        if state == "applied" and on_device:
            self.outcome.desired_applied += 1
            self._say(f"    {said}")
            return
        reason = ack.get("message") or ack.get("code") or ""
        self.outcome.failures.append(f"{said} {reason}".rstrip())
        self._say(f"    NOT APPLIED: {said} {reason}")


async def _until(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.03)
    return True


def _now() -> float:
    return time.time_ns() / 1_000_000


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
