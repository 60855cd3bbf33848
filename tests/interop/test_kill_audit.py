"""The audit of the kill loop finds whatever was lost, done twice or done late, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interop.kill_audit import Evidence, faults

#: w0 was set to 1, 3 and 5 (nobody was told of 5), o0 to 2 and 4; the edge was killed at 10.0 and over at 10.1.
CLEAN = Evidence(
    acknowledged={"w0": [1, 3], "o0": [2, 4]},
    overridden=["o0"],
    written=[("w0", 1), ("o0", 2), ("w0", 5), ("o0", 4)],
    handed={1: 9.0, 2: 9.9, 3: 11.0},
    history={1: 1, 3: 1},
    told={("o0", 2): 1, ("o0", 4): 1},
    gaps=[],
    edge_ends=[(10.0, 10.1)],
)


def test_a_later_value_stands_for_an_acknowledged_one_and_a_fresh_reading_may_die():
    assert faults(CLEAN) == []
    assert CLEAN.missing == [2]
    assert CLEAN.unsure(2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"written": CLEAN.written[:2]}, ["w0: 3 was acknowledged", "o0: 4 was acknowledged"]),
        ({"written": [*CLEAN.written, ("w0", 5)]}, ["('w0', 5) was written 2 times"]),
        ({"written": [*CLEAN.written, ("w0", 4)]}, ["w0: 4 was written after 5"]),
        ({"told": {("o0", 4): 1}}, ["o0: the override 2 was acknowledged, the journal does not have it"]),
        ({"told": {("o0", 2): 1, ("o0", 4): 2}}, ["the override ('o0', 4) is in the journal 2 times"]),
        ({"history": {3: 1}}, ["count 1, read 9.00 s after"]),
        ({"history": {1: 1, 3: 2}}, ["count 3 is in history 2 times"]),
        ({"history": {1: 1, 3: 1, 4: 1}}, ["count 4 was never read"]),
        ({"gaps": ["five lost"]}, ["the cloud misses entries: five lost"]),
    ],
)
def test_each_loss_and_each_repetition_is_a_fault(changed, said):
    found = faults(replace(CLEAN, **changed))
    assert len(found) == len(said)
    assert all(fault.startswith(start) for fault, start in zip(found, said, strict=True)), found
