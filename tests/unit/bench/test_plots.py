"""Plots are well-formed SVG with titles, labels, units and a style for dark pages."""

from xml.etree import ElementTree as ET

import pytest

from tests.bench.figures import Comparison, Figure, Findings, Goal, Growth, Shares
from tests.bench.plots import draw_bars, draw_findings, draw_growth, draw_shares

CLIPS = [
    Figure("clip of 5 s", "s", [1.0, 1.2], [0.9, 1.0], "the library", Goal(1.03, Comparison.RATIO)),
    Figure("clip of <11 s>", "s", [2.0], [2.5], "the library"),
]
GROWTH = Growth("Calls", "client", "ms", {"here": {1: [2.0], 4: [8.0], 64: [120.0]}, "empty": {}})
SHARES = Shares("A call", "ms", {"HTTP": 1.0, "queue": 3.0})


def read_texts(drawing: str) -> list[str]:
    """Return all texts of a drawing, which has to be well-formed."""
    root = ET.fromstring(drawing)  # noqa: S314 - written by this project
    return [str(element.text) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_bars_name_each_figure_its_counterpart_and_the_unit() -> None:
    texts = read_texts(draw_bars("Clips", "s", CLIPS))

    assert {"Clips, s", "clip of 5 s", "clip of <11 s>", "this server", "the library"} <= {*texts}


def test_each_counterpart_has_a_colour_of_its_own() -> None:
    drawing = draw_bars("Clips", "s", [CLIPS[0], Figure("job", "s", [1.0], [2.0], "bare")])

    assert {"the library", "bare"} <= {*read_texts(drawing)}
    boxes = [line for line in drawing.splitlines() if line.startswith("<rect") and 'x="12.0"' not in line]
    assert [box.split('"')[-2] for box in boxes] == ["fill0", "fill1", "fill0", "fill2"]


def test_lines_name_the_sizes_the_axis_and_the_slope() -> None:
    texts = read_texts(draw_growth(GROWTH))

    assert {"Calls, ms", "clients", "1", "4", "64"} <= {*texts}
    assert any(text.startswith("here: ") and "ms per client, exponent" in text for text in texts)


@pytest.mark.parametrize("points", [{}, {4: [1.0]}, {1: [0.0], 4: [0.0]}, {1: [5.0], 2: [5.0]}])
def test_lines_with_few_values_can_be_drawn(points: dict[float, list[float]]) -> None:
    assert "Calls, ms" in read_texts(draw_growth(Growth("Calls", "client", "ms", {"here": points})))


def test_shares_name_each_part_with_its_size() -> None:
    texts = read_texts(draw_shares(SHARES))

    assert {"A call, 4 ms", "HTTP: 1 ms (25%)", "queue: 3 ms (75%)"} <= {*texts}


def test_each_subject_has_a_plot_per_unit_growth_and_whole() -> None:
    other_unit = Figure("rate", "1/s", [5.0], [6.0], "bare")
    without_counterpart = Figure("alone", "MB", [5.0])
    found = Findings("Clips", "How.", [*CLIPS, other_unit, without_counterpart], (), [GROWTH], [SHARES])

    plots = draw_findings("clips", found)

    assert [*plots] == ["clips-bars-1.svg", "clips-bars-2.svg", "clips-growth-1.svg", "clips-shares-1.svg"]
    assert all("prefers-color-scheme: dark" in drawing for drawing in plots.values())
