"""Charts: where things are, and that they can be read."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from interop.chart import Axis, Mark, linear, save_distribution, save_lines, span, times

_SVG = "{http://www.w3.org/2000/svg}"


def texts(file) -> list[str]:
    return [element.text or "" for element in ElementTree.parse(file).iter(f"{_SVG}text")]


def test_a_linear_axis_begins_at_zero_and_ends_at_a_round_number():
    axis = linear("updates/s", [38_000.0, 41_000.0])
    assert (axis.low, axis.high) == (0, 50_000)
    assert axis.ticks[-1] == (50_000, "50,000")
    assert axis.place(25_000) == 0.5


def test_a_span_ends_where_it_is_told_to():
    axis = span("s", -2, 15)
    assert (axis.low, axis.high) == (-2, 15)
    assert [label for _, label in axis.ticks] == ["0", "5", "10", "15"]


def test_times_are_written_as_people_say_them():
    axis = times("age", [52.0, 18_000.0])
    assert [label for _, label in axis.ticks] == [
        "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s", "5 s", "10 s", "20 s",
    ]  # fmt: skip
    assert axis.place(50) == 0
    assert axis.place(1000) == pytest.approx(0.5, abs=0.01)


def test_what_lies_outside_is_shown_at_the_edge():
    assert Axis("", 1, 10, ()).place(0.5) == 0
    assert Axis("", 1, 10, (), logarithmic=True).place(50) == 1


def test_a_chart_has_a_title_units_every_name_and_every_target(tmp_path):
    file = tmp_path / "new" / "chart.svg"
    lines = {"ours": [(0.0, 1.0), (1.0, 2.0)], "<theirs> & co": [(0.0, 3.0)]}
    marks = [Mark("x", 0.5, "now"), Mark("y", 2.5, "target 2.5")]
    save_lines(file, "A < B", linear("seconds", [1.0]), linear("ms", [3.0]), lines, marks=marks)
    found = texts(file)
    assert {"A < B", "seconds", "ms", "ours", "<theirs> & co", "now", "target 2.5"} <= set(found)
    assert len(list(ElementTree.parse(file).iter(f"{_SVG}polyline"))) == 2


def test_dots_have_nothing_between_them(tmp_path):
    file = tmp_path / "chart.svg"
    save_lines(file, "", linear("", [1.0]), linear("", [1.0]), {"a": [(0, 0), (1, 1)]}, dots=True)
    tree = ElementTree.parse(file)
    assert not list(tree.iter(f"{_SVG}polyline"))
    assert len(list(tree.iter(f"{_SVG}circle"))) == 2


def test_a_distribution_ends_at_all_and_shows_the_target(tmp_path):
    file = tmp_path / "chart.svg"
    save_distribution(file, "t", {"ours": [n / 1000 for n in range(50, 150)]}, target=0.095)
    assert "target for 99 %: 95 ms" in texts(file)
    (line,) = ElementTree.parse(file).iter(f"{_SVG}polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] == 54, "the top: all of them"
