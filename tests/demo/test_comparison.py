"""When a twin agrees with its device, and how far the demo's documents let them differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import twingateway.demo
from twingateway.demo.comparison import Mismatch, agree, compare
from twingateway.demo.documents import DemoDevice, read_documents

DEVICES = Path(twingateway.demo.__file__).parent / "site" / "devices"


@pytest.mark.parametrize(
    ("truth", "twin", "tolerance", "expected"),
    [
        (21.5, 21.5, 0.0, True),
        (21.5, 21.6, 0.0, False),
        (21.5, 21.6, 0.1, True),
        (21.5, 21.7, 0.1, False),
        (230.1000061035, 230.1, 0.0, True),  # a float32 and the decimal it stands for
        (9_876_543_210, 9_876_543_210.0, 0.0, True),
        (3, 2, 0.0, False),
        (True, 1, 0.0, False),
        (False, 0, 5.0, False),
        ("open", "open", 0.0, True),
        ("open", "closed", 5.0, False),
        (None, None, 0.0, False),
        (0, None, 5.0, False),
        (230.58999633789062, 230.79, 0.2, True),  # a whole deadband apart, and a float32's rounding
        (230.58, 230.79, 0.2, False),
    ],
)
def test_values_agree_within_the_tolerance_and_never_across_kinds(
    truth: Any, twin: Any, tolerance: float, expected: bool
) -> None:
    assert agree(truth, twin, tolerance) is expected
    assert agree(twin, truth, tolerance) is expected


def test_what_only_one_side_knows_is_a_mismatch() -> None:
    device = DemoDevice("pump", "mqtt", {"flow": 0.5, "speed": 0.0})
    truth = {"pump": {"flow": 8.0, "speed": 100}}
    assert compare([device], truth, {"pump": {"flow": 8.4, "speed": 100}}) == []
    assert compare([device], truth, {"pump": {"flow": 8.6, "speed": 100}}) == [Mismatch("pump", "flow", 8.0, 8.6)]
    assert compare([device], truth, {"pump": {"flow": 8.0}}) == [Mismatch("pump", "speed", 100, None)]
    assert compare([device], truth, {}) == [
        Mismatch("pump", "flow", 8.0, None),
        Mismatch("pump", "speed", 100, None),
    ]
    assert compare([device], truth, {"pump": {"flow": 8.0, "speed": 100, "colour": "red"}}) == [
        Mismatch("pump", "colour", None, "red")
    ]
    assert len(compare([device], {}, {"pump": {"flow": 8.0, "speed": 100}})) == 2


def test_the_documents_allow_a_step_and_the_deadband_and_nothing_more() -> None:
    devices = {device.name: device for device in read_documents(DEVICES)}
    inverter = devices["inverter"].tolerances
    assert inverter["power"] == pytest.approx(5.1)
    assert inverter["state"] == 0
    assert devices["meter"].tolerances["voltageL1"] == pytest.approx(0.2)
    assert devices["heatpump"].tolerances["power"] == 5, "the scale of a JSON number rounds nothing"
    assert set(devices["lamp"].tolerances.values()) == {0.0}


def test_the_demo_has_at_least_three_devices_of_each_protocol() -> None:
    adapters = [device.adapter for device in read_documents(DEVICES)]
    assert {name: adapters.count(name) >= 3 for name in set(adapters)} == {"modbus": True, "mqtt": True, "http": True}


def test_only_devices_that_send_their_time_count_as_stamped() -> None:
    stamped = {device.adapter for device in read_documents(DEVICES) if device.stamped}
    assert stamped == {"mqtt", "http"}
