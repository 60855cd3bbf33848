"""What the reconnect figures are made of, and what the chart shows of them."""

from __future__ import annotations

import argparse
from xml.etree import ElementTree

import pytest

from interop.reconnect import Result, _draw, _median, _recorded, _since


def test_the_first_update_after_the_event_counts():
    assert _since(10.0, [9.5, 10.0, 10.0785, 11.0]) == pytest.approx(78.5)
    assert _since(10.0, [9.5]) is None


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([], None),
        ([3.0, 1.0, 2.0], 2.0),
        ([1.0, 2.0, 3.0, 4.0], 3.0),
        ([1.0, None, None], None),
        ([None, 2.0, 1.0], 2.0),
    ],
)
def test_what_never_came_counts_as_later_than_any(times, median):
    assert _median(times) == median


def test_runs_are_kept_beside_each_other_and_drawn_as_dots_with_what_is_aimed_at(tmp_path):
    record, chart = tmp_path / "runs.jsonl", tmp_path / "chart.svg"
    _recorded(record, [Result(78.0, 56.0, 203.0, 100.0, (203.0,), 55.0)])
    both = _recorded(record, [Result(80.0, None, None, 100.0)])
    assert [each.first_update_ms for each in both] == [78.0, 80.0]
    _draw(argparse.Namespace(chart=chart, outage=30.0), both)
    tree = ElementTree.parse(chart)
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}circle"))) == 5, "what is not known has no dot"
    shown = {element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"target, live: 150 ms", "target, new: 250 ms", "new port (NAT)"} <= shown
