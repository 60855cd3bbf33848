"""A device that speaks by itself has a period too: stated, or learnt from its beat."""

from __future__ import annotations

import asyncio

import pytest

from tests.adapters_mqtt.test_mqtt_driver import STATUS, plug
from twingateway.adapter import Beat
from twingateway.adapter.beat import INTERVALS


def heard(*times: float, stated: float | None = None) -> Beat:
    beat = Beat(stated)
    for time in times:
        beat.heard(time)
    return beat


def test_a_device_that_keeps_to_a_beat_is_expected_to_go_on() -> None:
    times = [10.0 * n for n in range(INTERVALS + 1)]
    assert heard(*times).period == 10.0
    assert heard(*times[:-1]).period is None, "not known yet"
    assert heard(*times, times[-1] + 15).period == 15.0


def test_a_device_that_only_tells_what_changes_is_not() -> None:
    assert heard(0, 1, 2, 60, 61, 300, 301, 302, 900).period is None


def test_what_comes_on_several_topics_at_once_is_one_word() -> None:
    times = [10.0 * n + topic / 100 for n in range(INTERVALS + 1) for topic in range(3)]
    assert heard(*times).period == pytest.approx(10.0)


def test_what_the_document_states_needs_no_learning() -> None:
    assert heard(stated=5.0).period == 5.0
    assert heard(0, 100, 101, stated=5.0).period == 5.0


async def test_a_driver_tells_the_period_that_is_stated() -> None:
    assert plug(period="30s").driver.period == 30.0
    assert plug().driver.period is None


async def test_a_driver_learns_from_what_the_device_says_now(monkeypatch: pytest.MonkeyPatch) -> None:
    async with plug().running() as bench:
        clock = iter(range(1000, 2000, 10))
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: float(next(clock)))
        for number in range(INTERVALS + 1):
            bench.broker.deliver(STATUS, f'{{"apower": {number}, "voltage": 230}}')
        monkeypatch.undo()
        assert bench.driver.period == 10.0
