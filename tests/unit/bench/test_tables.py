"""Tables show medians with their ranges, goals and verdicts; JSON holds all values."""

import json

import pytest

from tests.bench.figures import Bound, Comparison, Count, Figure, Findings, Goal, Growth, Shares
from tests.bench.tables import (
    describe_findings,
    tabulate_counts,
    tabulate_figures,
    tabulate_growths,
    tabulate_shares,
    write_number,
)

RATIO = Figure("clip of 5 s", "s", [1.0, 1.1, 1.2], [1.0, 1.0, 1.0], "bare", Goal(1.03, Comparison.RATIO))


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (
            RATIO,
            "| clip of 5 s, s | 3 | 1.1 (1 to 1.2) | 1 (1 to 1) bare | 1.1 (1 to 1.2) | ≤ 1.03 × | **no** |",
        ),
        (Figure("quick", "ms", [0.5], goal=Goal(20)), "| quick, ms | 1 | 0.5 | – | – | ≤ 20 ms | yes |"),
        (
            Figure("rate", "1/s", [60.0], [100.0], "bare", Goal(0.6, Comparison.RATIO, Bound.AT_LEAST)),
            "| rate, 1/s | 1 | 60.0 | 100 bare | 0.6 | ≥ 0.6 × | yes |",
        ),
        (
            Figure("call", "ms", [9.0], [4.0], "health", Goal(15, Comparison.ADDED)),
            "| call, ms | 1 | 9 | 4 health | 5 | ≤ 15 ms added | yes |",
        ),
        (
            Figure("wrong", "%", [3.0], [2.0], "bare", Goal(0.3, Comparison.ADDED)),
            "| wrong, % | 1 | 3 | 2 bare | 1 | ≤ 0.3 points added | **no** |",
        ),
        (
            Figure("batch", "s", [2.0], [4.0], "bare", Goal(1.3, Comparison.SPEED_UP, Bound.AT_LEAST)),
            "| batch, s | 1 | 2 | 4 bare | 2 | ≥ 1.3 × as fast | yes |",
        ),
        (Figure("plain", "", [123.4, 125.0, 1234.5]), "| plain | 3 | 125 (123 to 1234) | – | – | – |  |"),
        (
            Figure("absent", "", (), goal=Goal(1), note="there is no GPU"),
            "| absent | 0 | not measured | there is no GPU | – | ≤ 1 |  |",
        ),
    ],
)
def test_each_figure_is_a_line(figure: Figure, line: str) -> None:
    assert tabulate_figures([figure]).splitlines()[2:] == [line]


def test_each_count_is_a_line() -> None:
    table = tabulate_counts([Count("missed", 0, 0), Count("twice", 1, 0)])

    assert table.splitlines()[2:] == ["| missed | 0 | 0 | yes |", "| twice | 1 | 0 | **no** |"]


def test_each_part_of_a_whole_is_a_line() -> None:
    table = tabulate_shares([Shares("A call", "ms", {"HTTP": 1.0, "queue": 3.0})])

    assert table.splitlines()[2:] == ["| A call: HTTP | 1 ms | 25% |", "| A call: queue | 3 ms | 75% |"]


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
