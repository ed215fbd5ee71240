"""Tables show medians with their ranges, goals and verdicts; JSON holds all values."""

import json

import pytest

from tests.bench.figures import Bound, Comparison, Count, Figure, Findings, Goal, Growth
from tests.bench.tables import (
    describe_findings,
    tabulate_counts,
    tabulate_figures,
    tabulate_growths,
    write_number,
)

RATIO = Figure(
    "clip of 5 s", "s", [1.0, 1.1, 1.2], [1.0, 1.0, 1.0], "the library", Goal(1.03, Comparison.RATIO)
)


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (
            RATIO,
            "| clip of 5 s, s | 1.1 (1 to 1.2) | 1 (1 to 1) the library | 1.1 (1 to 1.2) | ≤ 1.03 | **no** |",
        ),
        (Figure("quick", "ms", [0.5], goal=Goal(20)), "| quick, ms | 0.5 | – | – | ≤ 20 ms | yes |"),
        (
            Figure("rate", "1/s", [60.0], [100.0], "bare", Goal(0.6, Comparison.RATIO, Bound.AT_LEAST)),
            "| rate, 1/s | 60.0 | 100 bare | 0.6 | ≥ 0.6 | yes |",
        ),
        (Figure("plain", "", [123.4, 125.0, 1234.5]), "| plain | 125 (123 to 1234) | – | – | – |  |"),
        (
            Figure("absent", "", (), goal=Goal(1), note="there is no GPU"),
            "| absent | not measured | there is no GPU | – | ≤ 1 |  |",
        ),
    ],
)
def test_each_figure_is_a_line(figure: Figure, line: str) -> None:
    assert tabulate_figures([figure]).splitlines()[2:] == [line]


def test_each_count_is_a_line() -> None:
    table = tabulate_counts([Count("missed", 0, 0), Count("twice", 1, 0)])

    assert table.splitlines()[2:] == ["| missed | 0 | 0 | yes |", "| twice | 1 | 0 | **no** |"]


def test_each_line_of_growth_has_its_slope() -> None:
    growth = Growth("Calls", "client", "ms", {"here": {1: [2.0], 4: [8.0]}, "there": {1: [5.0]}})

    assert tabulate_growths([growth]).splitlines()[2:] == [
        "| Calls: here, ms | 1: 2, 4: 8 | 2 ms per client | 1.00 |",
        "| Calls: there, ms | 1: 5 | – | – |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (1.5, "1.5"), (12.34, "12.3"), (1234.5, "1234"), (-0.5, "-0.5")]
)
def test_a_number_has_about_three_digits(value: float, text: str) -> None:
    assert write_number(value) == text


def test_json_holds_every_value_and_the_goal() -> None:
    written = json.dumps(describe_findings(Findings("A title", "How.", [RATIO])))
    (figure,) = json.loads(written)["figures"]

    assert figure["here"] == [1.0, 1.1, 1.2]
    assert figure["against"] == [1.0, 1.0, 1.0]
    assert figure["goal"] == {"comparison": "here / against", "bound": "≤", "limit": 1.03}
    assert figure["is_met"] is False
