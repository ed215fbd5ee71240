"""Figures as tables in Markdown, and as values for JSON."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from tests.bench.figures import Comparison, Count, Figure, Findings, Goal, Growth, Shares, find_spread
from tests.bench.interleaving import fit_slope

NOTHING = "–"
_VERDICTS = {True: "yes", False: "**no**", None: ""}
_HEAD = ("figure", "rounds", "here", "against", "compared", "goal", "met")


def tabulate_figures(figures: Iterable[Figure]) -> str:
    """Return a table with one line for each figure: medians, with the lowest and highest value."""
    return tabulate(_HEAD, map(_describe_figure, figures))


def tabulate_counts(counts: Iterable[Count]) -> str:
    """Return a table with one line for each count."""
    rows = [(one.name, str(one.here), str(one.must_be), _VERDICTS[one.is_right]) for one in counts]
    return tabulate(("count", "here", "must be", "right"), rows)


def tabulate_growths(growths: Iterable[Growth]) -> str:
    """Return a table with one line for each line of the plots, with its slope."""
    rows = [row for growth in growths for row in _describe_growth(growth)]
    return tabulate(("growth", "medians", "slope", "exponent"), rows)


def tabulate_shares(shares: Iterable[Shares]) -> str:
    """Return a table with one line for each part of a whole."""
    rows = [
        (f"{one.title}: {name}", f"{write_number(size)} {one.unit}", f"{size / one.total:.0%}")
        for one in shares
        for name, size in one.parts.items()
    ]
    return tabulate(("part", "median", "share"), rows)


def tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_findings(found: Findings) -> Mapping[str, object]:
    """Return the findings as values for JSON."""
    return {
        "title": found.title,
        "notes": found.notes,
        "figures": [_encode_figure(figure) for figure in found.figures],
        "counts": [{"name": one.name, "here": one.here, "must_be": one.must_be} for one in found.counts],
        "growths": [
            {"title": one.title, "axis": one.axis, "unit": one.unit, "lines": _encode_lines(one)}
            for one in found.growths
        ],
        "shares": [{"title": one.title, "unit": one.unit, "parts": one.parts} for one in found.shares],
    }


def write_number(value: float) -> str:
    """Return about three digits, with at most three decimals."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")


def _describe_figure(figure: Figure) -> tuple[str, ...]:
    goal = figure.goal
    limit = _describe_goal(goal, figure.unit) if goal else NOTHING
    name = f"{figure.name}, {figure.unit}" if figure.unit else figure.name
    if not figure.here:
        return (name, "0", "not measured", figure.note, NOTHING, limit, "")
    against = f"{_write_spread(figure.against)} {figure.counterpart}" if figure.against else NOTHING
    is_compared = goal is not None and goal.comparison is not Comparison.HERE
    compared = _write_spread(figure.compared) if is_compared else NOTHING
    here = _write_spread(figure.here)
    return (name, str(len(figure.here)), here, against, compared, limit, _VERDICTS[figure.is_met])


def _describe_goal(goal: Goal, unit: str) -> str:
    limit = f"{goal.bound} {goal.limit:g}"
    match goal.comparison:
        case Comparison.HERE:
            return f"{limit} {unit}".rstrip()
        case Comparison.RATIO:
            return f"{limit} ×"
        case Comparison.SPEED_UP:
            return f"{limit} × as fast"
        case Comparison.ADDED:
            return f"{limit} {'points' if unit == '%' else unit} added"


def _write_spread(values: Sequence[float]) -> str:
    spread = find_spread(values)
    middle = write_number(spread.median)
    if len(values) == 1:
        return middle
    return f"{middle} ({write_number(spread.minimum)} to {write_number(spread.maximum)})"


def _describe_growth(growth: Growth) -> Iterable[tuple[str, ...]]:
    for name, points in growth.lines.items():
        slope = fit_slope(points)
        medians = ", ".join(f"{size:g}: {write_number(median(values))}" for size, values in points.items())
        fitted = f"{write_number(slope.per_step)} {growth.unit} per {growth.axis}" if slope else NOTHING
        exponent = f"{slope.exponent:.2f}" if slope else NOTHING
        yield (f"{growth.title}: {name}, {growth.unit}", medians, fitted, exponent)


def _encode_figure(figure: Figure) -> Mapping[str, object]:
    goal = figure.goal
    return {
        "name": figure.name,
        "unit": figure.unit,
        "here": list(figure.here),
        "against": list(figure.against),
        "counterpart": figure.counterpart,
        "compared": list(figure.compared),
        "goal": {"comparison": goal.comparison, "bound": goal.bound, "limit": goal.limit} if goal else None,
        "is_met": figure.is_met,
        "note": figure.note,
    }


def _encode_lines(growth: Growth) -> Mapping[str, object]:
    return {
        name: {f"{size:g}": list(values) for size, values in points.items()}
        for name, points in growth.lines.items()
    }
