"""How a demo went: as one JSON object, and as a text for someone who sees it for the first time. Pure."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import Any

from twingateway.demo.board import Board
from twingateway.demo.latency import percentile
from twingateway.demo.script import Outcome


def succeeded(outcome: Outcome) -> bool:
    """Nothing mismatches, and every desired value was applied."""
    return not outcome.mismatches and outcome.desired_applied == outcome.desired_set > 0


def as_json(outcome: Outcome, board: Board, seconds: float) -> dict[str, Any]:
    """`updates`: register versions that the cloud's store made durable, of every section. `p50_ms`, `p99_ms`: from a
    device's change to the cloud's event stream, since all devices had arrived; the change's time is the device's own
    time stamp (`stamped_devices`), for all others the time of the poll that saw it. `p99_ms_by_adapter` holds
    the same by protocol. `outage_p99_ms`: the updates that the outage held up, which count nowhere else."""
    normal, delayed = board.latencies.normal(), board.latencies.delayed()
    every, held_up = list(chain(*normal.values())), list(chain(*delayed.values()))
    adapters = sorted({device.adapter for device in board.devices})
    return {
        "devices": len(board.devices),
        "adapters": len(adapters),
        "adapter_names": adapters,
        "properties": outcome.compared,
        "updates": outcome.updates,
        "desired_set": outcome.desired_set,
        "desired_applied": outcome.desired_applied,
        "failures": outcome.failures,
        "outage_seconds": outcome.outage_seconds,
        "recovery_seconds": outcome.recovery_seconds,
        "mismatches": [asdict(mismatch) for mismatch in outcome.mismatches],
        "p50_ms": percentile(every, 0.5),
        "p99_ms": percentile(every, 0.99),
        "outage_p99_ms": percentile(held_up, 0.99),
        "p99_ms_by_adapter": {name: percentile(normal.get(name, ()), 0.99) for name in adapters},
        "measured_updates": len(every),
        "outage_updates": len(held_up),
        "stamped_devices": [device.name for device in board.devices if device.stamped],
        "packets": outcome.packets,
        "packets_lost": outcome.packets_lost,
        "seconds": round(seconds, 1),
        "ok": succeeded(outcome),
    }


def as_text(result: dict[str, Any]) -> str:
    """For people."""
    return "\n".join(
        [
            "",
            *_journey(result),
            "",
            *_freshness(result),
            *_outage(result),
            *_verdict(result),
            "",
            "Everything agrees." if result["ok"] else "Something is wrong: see above.",
        ]
    )


def _journey(result: dict[str, Any]) -> list[str]:
    lost = 100 * result["packets_lost"] / max(1, result["packets"])
    names = ", ".join(result["adapter_names"])
    meanwhile = ", the outage included" if result["outage_seconds"] else ""
    return [
        f"{result['devices']} devices of {result['adapters']} protocols ({names}) became twins at an edge node.",
        "They went over MQTT 5 on QUIC to a cloud node, and desired values came back, on a link that",
        f"lost {lost:.0f} % of {result['packets']} packets{meanwhile}.",
    ]


def _freshness(result: dict[str, Any]) -> list[str]:
    by_adapter = ", ".join(f"{name} {_ms(value)}" for name, value in result["p99_ms_by_adapter"].items())
    return [
        f"  updates    {result['updates']} versions of values made durable at the cloud",
        f"  latency    p50 {_ms(result['p50_ms'])}, p99 {_ms(result['p99_ms'])} ({by_adapter}),",
        "             from a device's change to the cloud's event stream; a change counts from the device's",
        f"             own time stamp ({', '.join(result['stamped_devices'])}),",
        "             for the others from the poll that saw it (http: waiting for the next poll included)",
    ]


def _outage(result: dict[str, Any]) -> list[str]:
    if not result["outage_seconds"]:
        return []
    return [
        f"  outage     the link was cut for {result['outage_seconds']:.1f} s; what was set meanwhile was applied "
        f"{result['recovery_seconds']:.1f} s after,",
        f"             and the {result['outage_updates']} updates that it held up came with p99 "
        f"{_ms(result['outage_p99_ms'])}",
    ]


def _verdict(result: dict[str, Any]) -> list[str]:
    differing = result["mismatches"]
    applied, wanted = result["desired_applied"], result["desired_set"]
    return [
        f"  desired    {applied} of {wanted} values set at the cloud were applied, and found so on the device itself",
        *(f"             NOT APPLIED: {failure}" for failure in result["failures"]),
        f"  proof      {result['properties']} properties read from the devices over their own protocols and compared",
        f"             with the twins at the cloud: {len(differing) or 'none'} "
        f"{'differ' if len(differing) > 1 else 'differs'}",
        *(
            f"             MISMATCH: {each['device']}.{each['property']}: the device says {each['truth']!r}, "
            f"its twin {each['twin']!r}"
            for each in differing
        ),
    ]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
