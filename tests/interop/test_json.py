"""Whoever reads the last line of a command finds these keys in it, for good."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from interop import freshness, modbus, outage, reconnect, throughput
from interop.modbus_site import Layout


@pytest.mark.parametrize(
    ("result", "keys"),
    [
        (
            freshness.Result,
            "contender p50_ms p90_ms p99_ms max_ms delivered sent bytes_up bytes_down cpu_s",
        ),
        (
            throughput.Result,
            "updates_per_s cpu_us_per_update_edge cpu_us_per_update_cloud rss_mb_edge rss_mb_cloud lost",
        ),
        (outage.Result, "catch_up_s bytes rss_growth_mb"),
        (reconnect.Result, "first_update_ms rtt_ms"),
    ],
)
def test_the_object_of_each_command_has_its_keys(result: type[Any], keys: str) -> None:
    assert set(keys.split()) <= {field.name for field in fields(result)}


def test_the_load_of_modbus_units_has_its_keys() -> None:
    reports = [{"late": {"1/1": [0.001, 0.003]}, "missed": 0, "requests": 20}]
    found = modbus._result(Layout(1, 1, 3, 1.0, 1), reports, 10.0, 3.0, 30, 100.0, [])
    assert found["cpu_share"] == 0.3
    assert found["p99_late_ms"] == 3.0
    assert found["requests_per_s"] == 2
    assert {"rss_mb", "missed_polls", "values_per_s"} <= found.keys()
