"""Windows are cut where the language changes; where that is in doubt, they stay whole with a warning."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import WarningCode
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.language_regions import (
    CutWindows,
    SpeechRegion,
    cut_by_language,
    find_regions,
    name_regions,
    slice_window,
)
from worker.engines.qwen3.transcripts import compose_transcripts


def make_window(*lengths_s: float, gap_s: float = 0.0) -> Window:
    """A window from second 100 on, with a pause between each two lengths, and `gap_s` cut out there."""
    starts = np.cumsum([0, *lengths_s[:-1]])
    spans = [
        Span(
            round((100 + start + number * gap_s) * SAMPLE_RATE_HZ),
            round((100 + start + number * gap_s + length) * SAMPLE_RATE_HZ),
        )
        for number, (start, length) in enumerate(zip(starts, lengths_s, strict=True))
    ]
    bounds = np.cumsum([span.length for span in spans])
    samples = np.arange(bounds[-1], dtype=np.float32)
    return Window(3, tuple(spans), samples, spans[-1].end + 100, tuple(int(bound) for bound in bounds[:-1]))


def cut(window: Window, *languages: str | None) -> CutWindows:
    return cut_by_language(window, name_regions(find_regions(window), iter(languages)))


def lengths_s(cut_windows: CutWindows) -> list[float]:
    return [len(part.samples) / SAMPLE_RATE_HZ for part in cut_windows.parts]


def region_lengths_s(window: Window) -> list[float]:
    return [region.length / SAMPLE_RATE_HZ for region in find_regions(window)]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((4,), [4]),
        ((1,), [1]),
        ((4, 2, 3), [4, 2, 3]),
        ((4, 1, 3), [4, 4]),
        ((2, 1, 3), [3, 3]),
        ((1, 3), [4]),
        ((3, 1), [4]),
        ((1, 1, 1, 1), [2, 2]),
    ],
)
def test_a_region_too_short_to_detect_joins_its_shorter_neighbour(
    lengths: tuple[float, ...], expected: list[float]
) -> None:
    assert region_lengths_s(make_window(*lengths)) == expected


def test_a_window_in_one_language_stays_whole() -> None:
    window = make_window(3, 2, 4)

    cut_windows = cut(window, "German", "German", "German")

    (part,) = cut_windows.parts
    assert (part.spans, part.end_sample, part.pauses) == (window.spans, window.end_sample, window.pauses)
    assert np.array_equal(part.samples, window.samples)
    assert cut_windows.warnings == {3: ()}


def test_a_window_is_cut_where_the_language_changes_and_only_there() -> None:
    cut_windows = cut(make_window(3, 2, 2, 4), "German", "English", "English", "Chinese")

    assert lengths_s(cut_windows) == [3, 4, 4]
    assert [len(part.pauses) for part in cut_windows.parts] == [0, 1, 0]
    assert cut_windows.warnings == {3: ()}


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ((None, None, None), [9]),
        (("German", None, "German"), [9]),
        ((None, "German", "German"), [9]),
        (("German", "German", None), [9]),
        (("German", None, "English"), [6, 3]),
        ((None, "German", "English"), [6, 3]),
    ],
)
def test_a_region_without_a_language_takes_the_one_before_it(
    heard: tuple[str | None, ...], expected: list[float]
) -> None:
    assert lengths_s(cut(make_window(3, 3, 3), *heard)) == expected


def test_a_short_region_between_longer_ones_is_warned_of_instead() -> None:
    window = make_window(3, 2, 4, gap_s=10)

    cut_windows = cut(window, "German", "English", "German")

    assert lengths_s(cut_windows) == [9]
    ((warning,),) = cut_windows.warnings.values()
    assert (warning.code, warning.start_s, warning.end_s) == (WarningCode.LANGUAGE_CHANGE, 113, 115)
    assert "113.00 s to 115.00 s may be in English" in warning.message
    assert "in German" in warning.message


@pytest.mark.parametrize(
    ("lengths", "languages"),
    [
        ((3, 3, 4), ("German", "English", "German")),  # long enough to be sure
        ((3, 2, 4), ("German", "English", "Chinese")),  # between two others
        ((2, 2, 2, 2), ("German", "English", "German", "English")),  # none is shorter than the others
        ((4, 2), ("German", "English")),  # at an edge
    ],
)
def test_other_changes_are_cut(lengths: tuple[float, ...], languages: tuple[str, ...]) -> None:
    cut_windows = cut(make_window(*lengths), *languages)

    assert lengths_s(cut_windows) == list(lengths)
    assert cut_windows.warnings == {3: ()}


def test_warnings_are_added_to_the_transcript_of_their_window() -> None:
    window = make_window(3, 2, 4)
    cut_windows = cut(window, "German", "English", "German")
    other = Window(4, window.spans, window.samples, window.end_sample)

    transcripts = compose_transcripts([window, other], [], cut_windows.warnings)

    assert [len(transcript.warnings) for transcript in transcripts] == [1, 0]


spans = (
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 5_000)), min_size=1, max_size=4)
    .map(lambda steps: np.cumsum([number for step in steps for number in step]))
    .map(lambda bounds: tuple(Span(int(start), int(end)) for start, end in bounds.reshape(-1, 2)))
)


@given(st.data())
def test_parts_of_a_window_have_its_samples_and_their_place_in_the_upload(data: st.DataObject) -> None:
    window_spans = data.draw(spans)
    samples = np.concatenate([np.arange(span.start, span.end, dtype=np.float32) for span in window_spans])
    inner = st.integers(1, max(1, len(samples) - 1)).filter(lambda position: position < len(samples))
    pauses = sorted(data.draw(st.sets(inner, max_size=4))) if len(samples) > 1 else []
    window = Window(5, window_spans, samples, window_spans[-1].end + 7, tuple(pauses))
    bounds = [0, *pauses, len(samples)]

    parts = [slice_window(window, start, end) for start, end in pairwise(bounds)]

    assert np.array_equal(np.concatenate([part.samples for part in parts]), samples)
    assert {part.index for part in parts} == {5}
    assert parts[-1].end_sample == window.end_sample
    assert all(before.end_sample <= after.spans[0].start for before, after in pairwise(parts))
    for part in parts:
        expected = np.concatenate([np.arange(span.start, span.end) for span in part.spans])
        assert np.array_equal(part.samples, expected)
        assert part.pauses == ()
        middle = len(part.samples) // 2
        assert part.to_upload_s((middle + 0.5) / SAMPLE_RATE_HZ) * SAMPLE_RATE_HZ == pytest.approx(
            part.samples[middle] + 0.5
        )


@given(
    st.lists(st.floats(0.2, 6.0), min_size=1, max_size=9),
    st.lists(st.sampled_from(["English", "German", None]), min_size=9, max_size=9),
)
def test_no_sample_is_lost_whatever_the_languages(lengths: list[float], heard: list[str | None]) -> None:
    window = make_window(*lengths)
    regions = find_regions(window)

    cut_windows = cut_by_language(window, name_regions(regions, iter(heard)))

    assert np.array_equal(np.concatenate([part.samples for part in cut_windows.parts]), window.samples)
    assert all(region.start == 0 or region.start in window.pauses for region in regions)
    named = {language for language in heard[: len(regions)] if language}
    assert len(cut_windows.parts) == 1 or len(named) > 1


def test_a_region_reads_its_samples_from_the_window() -> None:
    window = make_window(3, 2)

    assert np.array_equal(SpeechRegion(10, 20).take(window).read(), window.samples[10:20])


@pytest.mark.parametrize(("length_s", "read_s"), [(2.0, (0.0, 2.0)), (2.5, (0.0, 2.5)), (7.5, (2.5, 5.0))])
def test_no_more_is_read_to_detect_a_language_than_a_sure_detection_needs(
    length_s: float, read_s: tuple[float, float]
) -> None:
    window = make_window(3, 20)
    start = 3 * SAMPLE_RATE_HZ
    region = SpeechRegion(start, start + int(length_s * SAMPLE_RATE_HZ))

    samples = region.take_middle(window).read()

    assert (samples[0] - start, samples[-1] + 1 - start) == tuple(edge * SAMPLE_RATE_HZ for edge in read_s)
