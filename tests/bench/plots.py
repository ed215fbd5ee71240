"""The plots: bars beside their counterparts, lines of growth, and the shares of a whole."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.figures import Figure, Findings, Growth, Shares, find_spread
from tests.bench.interleaving import fit_slope
from tests.bench.svg import COLOURS, Canvas
from tests.bench.tables import write_number

WIDTH = 720.0
LABEL_WIDTH = 330.0
BAR, GAP = 14.0, 12.0
PLOT_HEIGHT = 300.0
LEFT, RIGHT, TOP = 70.0, 690.0, 44.0


def draw_findings(name: str, found: Findings) -> Mapping[str, str]:
    """Return the plots of the subject `name` by the names of their files."""
    plots: dict[str, str] = {}
    beside = [figure for figure in found.figures if figure.here and figure.against]
    for number, unit in enumerate(dict.fromkeys(figure.unit for figure in beside)):
        chosen = [figure for figure in beside if figure.unit == unit]
        plots[f"{name}-bars-{number + 1}.svg"] = draw_bars(found.title, unit, chosen)
    for number, growth in enumerate(found.growths):
        plots[f"{name}-growth-{number + 1}.svg"] = draw_growth(growth)
    for number, shares in enumerate(found.shares):
        plots[f"{name}-shares-{number + 1}.svg"] = draw_shares(shares)
    return plots


def draw_bars(title: str, unit: str, figures: Sequence[Figure]) -> str:
    """Return pairs of bars: each figure, and its counterpart below. A thin line spans the rounds."""
    counterparts = list(dict.fromkeys(figure.counterpart for figure in figures))
    legend = ["this server", *counterparts]
    group = 2 * BAR + GAP
    bottom = TOP + group * len(figures)
    canvas = Canvas(WIDTH, bottom + 36 + 18 * len(legend), f"{title}, {unit}" if unit else title)
    longest = max(max(*figure.here, *figure.against) for figure in figures) or 1.0
    scale = (RIGHT - LABEL_WIDTH - 60) / longest
    for number, figure in enumerate(figures):
        top = TOP + number * group
        canvas.write_text(LABEL_WIDTH - 8, top + BAR + 4, figure.name, anchor="end")
        for row, values in enumerate((figure.here, figure.against)):
            spread, y = find_spread(values), top + row * BAR
            colour = row and 1 + counterparts.index(figure.counterpart) % (COLOURS - 1)
            canvas.draw_box(LABEL_WIDTH, y, (spread.median * scale, BAR - 2), f"fill{colour}")
            ends = [(LABEL_WIDTH + end * scale, y + BAR / 2 - 1) for end in (spread.minimum, spread.maximum)]
            canvas.draw_line(ends, "axis")
            canvas.write_text(ends[1][0] + 6, y + BAR - 3, write_number(spread.median))
    canvas.draw_line([(LABEL_WIDTH, TOP - 4), (LABEL_WIDTH, bottom)], "axis")
    canvas.write_legend(bottom + 12, legend)
    return canvas.render()


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis from `low` to `high`, drawn from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / (math.log(self.high / self.low) or 1.0)
        return self.begin + share * (self.end - self.begin)


def draw_growth(growth: Growth) -> str:
    """Return lines on logarithmic axes: a straight line is a power, and its steepness the exponent."""
    lines = {name: _keep_positive(points) for name, points in growth.lines.items()}
    lines = {name: points for name, points in lines.items() if points}
    legend = [f"{name}{_describe_slope(growth, points)}" for name, points in lines.items()]
    bottom = TOP + PLOT_HEIGHT
    title = f"{growth.title}, {growth.unit}"
    canvas = Canvas(WIDTH, bottom + 56 + 18 * len(legend), title)
    sizes = sorted({size for points in lines.values() for size in points})
    if not sizes:
        return canvas.render()
    values = [value for points in lines.values() for value in points.values()]
    across = _Scale(sizes[0], max(sizes[-1], sizes[0] * 1.01), LEFT, RIGHT - 20)
    ticks = _choose_ticks(min(values), max(values))
    up = _Scale(ticks[0], ticks[-1], bottom, TOP)
    for tick in ticks:
        canvas.draw_line([(LEFT, up.place(tick)), (RIGHT, up.place(tick))], "grid")
        canvas.write_text(LEFT - 8, up.place(tick) + 4, write_number(tick), anchor="end")
    for size in sizes:
        canvas.write_text(across.place(size), bottom + 18, f"{size:g}", anchor="middle")
    canvas.draw_line([(LEFT, TOP), (LEFT, bottom), (RIGHT, bottom)], "axis")
    canvas.write_text((LEFT + RIGHT) / 2, bottom + 36, _name_axis(growth.axis), anchor="middle")
    for number, points in enumerate(lines.values()):
        places = [(across.place(size), up.place(value)) for size, value in sorted(points.items())]
        canvas.draw_line(places, f"stroke{number % COLOURS}")
        for x, y in places:
            canvas.draw_point(x, y, f"fill{number % COLOURS}")
    canvas.write_legend(bottom + 46, legend)
    return canvas.render()


def draw_shares(shares: Shares) -> str:
    """Return one bar that consists of the parts, with their names and sizes below."""
    legend = [
        f"{name}: {write_number(size)} {shares.unit} ({size / shares.total:.0%})"
        for name, size in shares.parts.items()
    ]
    canvas = Canvas(
        WIDTH, 110 + 18 * len(legend), f"{shares.title}, {write_number(shares.total)} {shares.unit}"
    )
    x = 12.0
    for number, size in enumerate(shares.parts.values()):
        width = size / shares.total * (WIDTH - 24)
        canvas.draw_box(x, TOP, (max(0.0, width - 1), 36), f"fill{number % COLOURS}")
        x += width
    canvas.write_legend(TOP + 50, legend)
    return canvas.render()


def _name_axis(step: str) -> str:
    """Return the plural of a step: `minutes of audio`; MB stays as it is."""
    first, *others = step.split(" ")
    return " ".join([first if first.isupper() else f"{first}s", *others])


def _keep_positive(points: Mapping[float, Sequence[float]]) -> dict[float, float]:
    """Return the medians that a logarithmic axis can show."""
    medians = {size: find_spread(values).median for size, values in points.items() if values}
    return {size: value for size, value in medians.items() if size > 0 and value > 0}


def _describe_slope(growth: Growth, points: Mapping[float, float]) -> str:
    slope = fit_slope({size: [value] for size, value in points.items()})
    if slope is None:
        return ""
    return f": {write_number(slope.per_step)} {growth.unit} per {growth.axis}, exponent {slope.exponent:.2f}"


def _choose_ticks(low: float, high: float) -> Sequence[float]:
    """Return round numbers (1, 2 or 5 times a power of ten) from at most `low` to at least `high`."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high and step > first)
    inside = [step for step in steps if first <= step <= last]
    return inside if len(inside) <= 9 else [first, *(one for one in inside if _is_power(one)), last]


def _is_power(value: float) -> bool:
    return math.isclose(math.log10(value), round(math.log10(value)), abs_tol=1e-9)
