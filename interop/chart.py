"""Small SVG charts: lines over a linear or logarithmic axis, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 44, 54
_COLOURS = ("#0b7285", "#e8590c", "#a61e4d", "#5f3dc4", "#2b8a3e", "#868e96")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#495057}.title{font-size:15px;font-weight:600}"
    ".grid{stroke:#adb5bd;stroke-opacity:.4}.line{fill:none;stroke-width:2.2}"
    "@media(prefers-color-scheme:dark){text{fill:#ced4da}}"
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


def linear(label: str, values: Iterable[float]) -> Axis:
    """From 0 to a round number above the greatest value."""
    most = max(values, default=1.0) or 1.0
    step = 10 ** math.floor(math.log10(most))
    step = next(part for part in (step / 5, step / 2, step, 2 * step) if most / part <= 6)
    count = math.ceil(most / step)
    return Axis(label, 0, step * count, [(step * index, f"{step * index:g}") for index in range(count + 1)])


def decades(label: str, values: Iterable[float]) -> Axis:
    """Logarithmic, whole powers of ten around all values (positive)."""
    known = list(values)
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    ticks = [(10.0**power, f"{10.0**power:g}") for power in range(low, max(high, low + 1) + 1)]
    return Axis(label, ticks[0][0], ticks[-1][0], ticks, logarithmic=True)


def save_lines(
    file: Path,
    title: str,
    x: Axis,
    y: Axis,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    dots: bool = False,
) -> None:
    """Write one chart; each line by its name. `dots`: mark the points."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>',
        *_grid(x, y),
    ]
    for index, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        placed = [(_x(x, at), _y(y, value)) for at, value in points]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in placed)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
        if dots:
            parts += [
                f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" fill="{colour}"/>' for across, down in placed
            ]
        row = _TOP + 14 + 22 * index
        left = _WIDTH - _RIGHT + 14
        parts.append(f'<rect x="{left}" y="{row - 9}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="{row + 2}">{escape(name)}</text>')
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, "</svg>\n"]))


def save_distribution(file: Path, title: str, delays: Mapping[str, Sequence[float]]) -> None:
    """The share of updates that were seen within so many milliseconds, contender by contender. Seconds in."""
    everything = [max(delay * 1000, 1.0) for each in delays.values() for delay in each]
    x = decades("milliseconds from edge to cloud", everything)
    shares = [(0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (0.9, "90 %"), (1, "100 %")]
    y = Axis("updates seen", 0, 1, shares)
    lines = {}
    for name, each in delays.items():
        ordered = sorted(max(delay * 1000, 1.0) for delay in each)
        steps = {round(index * (len(ordered) - 1) / 200) for index in range(201)}
        lines[name] = [(ordered[index], (index + 1) / len(ordered)) for index in sorted(steps)]
    save_lines(file, title, x, y, lines)


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)


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
    yield f'<text transform="translate(18 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>'
