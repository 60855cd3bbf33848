"""Small SVG charts: lines or dots over a linear or logarithmic axis, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 370
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 176, 54, 54
_COLOURS = ("#0b7285", "#e8590c", "#a61e4d", "#5f3dc4", "#2b8a3e", "#868e96")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#495057}.title{font-size:15px;font-weight:600}"
    ".grid{stroke:#adb5bd;stroke-opacity:.4}.line{fill:none;stroke-width:2}"
    ".mark{stroke:#c92a2a;stroke-width:1.4;stroke-dasharray:6 4}text.marked{fill:#c92a2a}"
    "@media(prefers-color-scheme:dark){text{fill:#ced4da}text.marked{fill:#ff8787}.mark{stroke:#ff8787}}"
)


@dataclass(frozen=True, slots=True)
class Axis:
    """`ticks`: where to write a label, and which."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Mark:
    """A dashed line across the chart where `axis` has `value`, such as a target; `label` stands beside it."""

    axis: Literal["x", "y"]
    value: float
    label: str


def linear(label: str, values: Iterable[float]) -> Axis:
    """From 0 to a round number above the greatest value."""
    most = max(values, default=1.0) or 1.0
    step = _round_step(most)
    count = math.ceil(most / step)
    return Axis(label, 0, step * count, [(step * index, f"{step * index:,g}") for index in range(count + 1)])


def span(label: str, low: float, high: float) -> Axis:
    """From `low` to `high` as they are, with round numbers between."""
    step = _round_step(high - low)
    ticks = [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return Axis(label, low, high, [(tick, f"{tick:,g}") for tick in ticks])


def _round_step(width: float) -> float:
    """1, 2 or 5 times a power of ten, of which at most six fit."""
    step = 10.0 ** math.floor(math.log10(width))
    return next(part for part in (step / 5, step / 2, step, 2 * step) if width / part <= 6)


def times(label: str, values: Iterable[float]) -> Axis:
    """Logarithmic, for milliseconds (positive), shown as ms or s, at 1, 2 and 5 times powers of ten."""
    known = list(values)
    grid = [figure * 10.0**power for power in range(-3, 8) for figure in (1, 2, 5)]
    low = max(value for value in grid if value <= min(known))
    high = min(value for value in grid if value >= max(known) and value > low)
    ticks = [(value, _time(value)) for value in grid if low <= value <= high]
    return Axis(label, low, high, ticks if len(ticks) <= 12 else ticks[::3], logarithmic=True)


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def save_lines(
    file: Path,
    title: str,
    x: Axis,
    y: Axis,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    dots: bool = False,
    marks: Iterable[Mark] = (),
) -> None:
    """Write one chart; each line by its name. `dots`: points that have nothing between them."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>',
        *_grid(x, y),
    ]
    for index, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        placed = [(_x(x, at), _y(y, value)) for at, value in points]
        if dots:
            parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="{colour}"/>' for across, down in placed]
        else:
            path = " ".join(f"{across:.1f},{down:.1f}" for across, down in placed)
            parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        row = _TOP + 14 + 22 * index
        left = _WIDTH - _RIGHT + 14
        parts.append(f'<rect x="{left}" y="{row - 9}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="{row + 2}">{escape(name)}</text>')
    for mark in marks:
        parts += _marked(mark, x, y)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, "</svg>\n"]))


def save_distribution(
    file: Path, title: str, delays: Mapping[str, Sequence[float]], target: float | None = None
) -> None:
    """The share of updates that were seen within so long, contender by contender. Seconds in. `target`: of 99 %."""
    everything = [max(delay * 1000, 1.0) for each in delays.values() for delay in each]
    x = times("age of a change when an observer at the cloud sees it", everything)
    shares = [(0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (0.9, "90 %"), (0.99, "99 %")]
    y = Axis("updates seen", 0, 1, shares)
    lines = {}
    for name, each in delays.items():
        ordered = sorted(max(delay * 1000, 1.0) for delay in each)
        steps = {round(index * (len(ordered) - 1) / 200) for index in range(201)}
        lines[name] = [(ordered[index], (index + 1) / len(ordered)) for index in sorted(steps)]
    marks = [] if target is None else [Mark("x", target * 1000, f"target for 99 %: {_time(target * 1000)}")]
    save_lines(file, title, x, y, lines, marks=marks)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)


def _marked(mark: Mark, x: Axis, y: Axis) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    if mark.axis == "x":
        at = _x(x, mark.value)
        yield f'<line class="mark" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}"/>'
        yield f'<text class="marked" x="{at:.1f}" y="{_TOP - 6}" text-anchor="middle">{escape(mark.label)}</text>'
    else:
        at = _y(y, mark.value)
        yield f'<line class="mark" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>'
        yield f'<text class="marked" x="{right + 14}" y="{at + 4:.1f}">{escape(mark.label)}</text>'


def _grid(x: Axis, y: Axis) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value, label in x.ticks:
        at = _x(x, value)
        yield f'<line class="grid" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(label)}</text>'
    for value, label in y.ticks:
        at = _y(y, value)
        yield f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(label)}</text>'
    yield f'<text x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x.label)}</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
