"""Local overrides, from the edge's operator to the root's verdict: the device never flaps, and the loser is told."""

from __future__ import annotations

import pytest

from tests.gateway.overriding import PUMP, SPEED, Joined, joined
from twingateway.testing.joined import until

POLICIES = ["cloud-wins", "edge-wins", "manual"]
RESTARTS = ["nobody", "edge", "cloud"]

pytestmark = pytest.mark.parametrize("restarted", RESTARTS)


async def offline(both: Joined, restarted: str) -> None:
    """Somebody is restarted while the link is down; then it comes back."""
    nodes = {"edge": both.edge, "cloud": both.cloud}
    if restarted in nodes:
        await both.restart(nodes[restarted])
    both.heal()


@pytest.mark.parametrize("policy", POLICIES)
async def test_without_a_cloud_edit_the_override_becomes_desired(policy: str, restarted: str) -> None:
    async with joined(policy) as both:
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [99])
        await offline(both, restarted)
        await both.applied(99)
        await both.calm(lambda: both.state(both.edge) is None)
        assert both.written == [99]
        assert await both.events(both.cloud, "conflict", "conflict-open") == []
        await both.recorded("override")
        assert [entry.value["actor"] for entry in await both.events(both.cloud, "override")] == ["olaf"]


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_cloud_edit_that_had_reached_the_edge_is_no_conflict(policy: str, restarted: str) -> None:
    async with joined(policy) as both:
        await both.desire(50)
        await both.applied(50)
        both.cut()
        await both.override(99)
        await until(lambda: both.written == [50, 99])
        await offline(both, restarted)
        await both.applied(99)
        await both.calm(lambda: both.state(both.edge) is None)
        assert both.written == [50, 99]
        assert await both.events(both.cloud, "conflict", "conflict-open") == []


@pytest.mark.parametrize(("policy", "winner"), [("cloud-wins", 50), ("edge-wins", 99)])
async def test_of_two_edits_at_the_same_time_the_policy_chooses_and_the_loser_is_told(
    policy: str, winner: int, restarted: str
) -> None:
    async with joined(policy) as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        await until(lambda: both.written == [99])
        await offline(both, restarted)
        await both.applied(winner)
        await both.calm(lambda: both.state(both.edge) is None and both.desired(both.edge) == winner)
        assert both.written == ([99, 50] if winner == 50 else [99])
        [told] = await both.events(both.cloud, "conflict", "conflict-open")
        assert told.name == "conflict"
        assert (told.value["cloud"]["value"], told.value["cloud"]["actor"]) == (50, "carol")
        assert (told.value["edge"]["value"], told.value["edge"]["actor"]) == (99, "olaf")
        wins = policy.removesuffix("-wins")
        assert told.value["winner"] == wins
        said = f"was set to 50 at the cloud by carol and to 99 at edge by olaf: {wins} wins"
        assert told.value["message"] == f"{SPEED} {said}"


@pytest.mark.parametrize("winner", ["cloud", "edge"])
async def test_a_manual_conflict_stays_open_until_a_person_decides(winner: str, restarted: str) -> None:
    async with joined("manual") as both:
        both.cut()
        await both.override(99)
        await both.desire(50)
        await until(lambda: both.written == [99])
        await offline(both, restarted)
        await until(lambda: both.state(both.cloud) == both.state(both.edge) == "undecided")
        await both.calm(lambda: (ack := both.root.queries.ack(PUMP, SPEED)) and ack.code == "overridden")
        assert both.written == [99], "until it is decided the device follows the override"
        both.cut()
        await both.root.verdicts.resolve(PUMP, SPEED, edge=winner == "edge", actor="dora")
        await offline(both, restarted)
        value = 99 if winner == "edge" else 50
        await both.applied(value)
        await both.calm(lambda: both.state(both.edge) is None and both.desired(both.edge) == value)
        assert both.written == ([99] if winner == "edge" else [99, 50])
        open_, decided = await both.events(both.cloud, "conflict", "conflict-open")
        assert (open_.name, decided.name) == ("conflict-open", "conflict")
        assert (decided.value["winner"], decided.value["by"]) == (winner, "dora")
        assert decided.value["message"].endswith(f"{winner} wins, decided by dora")
