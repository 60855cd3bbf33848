"""What operators do: set a value at an edge, take it back, decide a conflict at the root."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.simulation.machines import WRITABLE
from tests.simulation.topology import ROOT, WIRES
from tests.simulation.writes import DONE, REFUSED, UNKNOWN
from twingateway.errors import TwinGatewayError
from twingateway.twin.entry import EVENT
from twingateway.twin.identity import DeviceId

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds that a client waits for an answer.
PATIENCE = 5.0


def override(world: World) -> None:
    """Somebody at an edge sets a value there."""
    override_at_edge(world, world.chance.choice([*WIRES]), world.chance.choice(WRITABLE))


def override_at_edge(world: World, device: str, name: str) -> None:
    node = world.chance.choice(WIRES[device])
    if not world.is_up(node):
        return
    behind = world.oracle.is_behind(node, device)
    edit = world.oracle.edits.ask((device, name), world.number(), node, world.now, behind=behind)
    gateway = world.nodes[node].gateway

    async def set_there() -> None:
        edit.outcome = UNKNOWN
        try:
            async with asyncio.timeout(PATIENCE):
                made = await gateway.overrides.set(DeviceId("default", device), name, edit.value, "olaf")
            edit.outcome, edit.id, edit.base = DONE, made.id, made.base
            world.oracle.entries.done[node, EVENT, f"{device}.{name}"].append(edit.value)
        except TwinGatewayError:
            edit.outcome = REFUSED
        except TimeoutError:
            pass
        finally:
            world.note(f"override {device}.{name}={edit.value} at {node} ({edit.id}): {edit.outcome}")

    world.ask(set_there(), node)


def withdraw(world: World) -> None:
    """Somebody takes back what was set at an edge."""
    edits = [edit for edits in world.oracle.edits.by_key.values() for edit in edits[-1:] if edit.outcome == DONE]
    edits = [edit for edit in edits if edit.withdrawal == REFUSED and world.is_up(edit.node)]
    if not edits:
        return
    edit = world.chance.choice(edits)
    overrides = world.nodes[edit.node].gateway.overrides

    async def take_back() -> None:
        edit.withdrawal = UNKNOWN
        try:
            async with asyncio.timeout(PATIENCE):
                await overrides.withdraw(DeviceId("default", edit.key[0]), edit.key[1], "olaf", edit.id)
            edit.withdrawal = DONE
        except TwinGatewayError:
            edit.withdrawal = REFUSED
        except TimeoutError:
            pass
        finally:
            world.note(f"override {edit.key}={edit.value} withdrawn: {edit.withdrawal}")

    world.ask(take_back(), edit.node)


def resolve(world: World) -> None:
    """Somebody decides a conflict that waits for a person."""
    if not world.is_up(ROOT):
        return
    gateway = world.cloud.gateway
    open_ = [
        (identity, name)
        for identity in (DeviceId("default", device) for device in WIRES)
        for name, shown in gateway.queries.overrides(identity).items()
        if isinstance(shown, dict) and shown["state"] == "undecided"
    ]
    if not open_:
        return
    (identity, name), edge = world.chance.choice(open_), world.chance.random() < 0.5

    async def decide() -> None:
        with contextlib.suppress(TwinGatewayError):
            await gateway.verdicts.resolve(identity, name, edge=edge, actor="dora")
            world.note(f"{identity.name}.{name} is decided for the {'edge' if edge else 'cloud'}")

    world.ask(decide())
