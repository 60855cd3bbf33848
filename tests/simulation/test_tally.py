"""What a run of many seeds tells while it lasts and at its end."""

from __future__ import annotations

from tests.simulation.tally import EXPLAINED, Tally


def test_progress_is_told_now_and_then_with_rate_and_time_left() -> None:
    tally = Tally(1000, now=100.0)
    lines = [line for seed in range(200) for line in tally.add(seed, "", 100.0 + 0.125 * (seed + 1))]
    assert lines == [
        "80 of 1000 seeds, 0 failed, 8.0/s, 0:01:55 left",
        "160 of 1000 seeds, 0 failed, 8.0/s, 0:01:45 left",
    ]


def test_the_first_failures_are_explained_and_all_are_listed() -> None:
    tally = Tally(100, now=0.0)
    seeds = list(range(60, 60 - EXPLAINED - 3, -1))
    told = [line for seed in seeds for line in tally.add(seed, "the pump is gone", 1.0)]
    assert told[0] == "seed 60: the pump is gone\n  replay: python -m tests.simulation --seed 60"
    assert told[EXPLAINED - 1].endswith(f"--seed {seeds[EXPLAINED - 1]}")
    assert told[EXPLAINED:] == [f"seed {seed} failed" for seed in seeds[EXPLAINED:]]
    assert tally.summary(2.0) == [
        f"{len(seeds)} seeds, {len(seeds)} failed, 2.0 s",
        "failed: " + " ".join(map(str, sorted(seeds))),
    ]


def test_it_is_told_in_how_many_worlds_each_excuse_was_made() -> None:
    tally = Tally(2, now=0.0, options=" --dense")
    tally.add(7, "", 0.5, {"cut off"})
    assert tally.add(8, "the pump is gone", 0.5, ["cut off", "unheard"])[0].endswith("--seed 8 --dense")
    assert tally.summary(0.5)[1] == "excused in: 2 cut off, 1 unheard"


def test_nothing_is_listed_where_nothing_failed() -> None:
    tally = Tally(1, now=0.0)
    assert tally.add(7, "", 0.5) == []
    assert tally.summary(0.5) == ["1 seeds, 0 failed, 0.5 s"]
