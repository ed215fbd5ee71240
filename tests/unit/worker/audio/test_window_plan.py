"""Windows hold all of the speech once, in order, and are never too long."""

from collections.abc import Iterable
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ, AudioStart
from shared.jobs import Checkpoint
from worker.audio.vad import CHUNK_SAMPLES
from worker.audio.window_plan import WindowConfig, WindowPlan, WindowPlanner, find_quietest, to_samples
from worker.engines.protocol import Span

SPEECH, HUM, SILENCE = 0.9, 0.4, 0.05
CHUNKS_PER_S = SAMPLE_RATE_HZ / CHUNK_SAMPLES


def lasting(probability: float, seconds: float) -> list[float]:
    """Return the probabilities of `seconds` of the same level."""
    return [probability] * round(seconds * CHUNKS_PER_S)


def plan_windows(
    probabilities: Iterable[float], config: WindowConfig, *, start_sample: int = 0, missing: int = 0
) -> list[WindowPlan]:
    """Return all windows of an upload whose last chunk lacks `missing` samples."""
    *whole, last = probabilities
    start = Checkpoint(resume_sample=start_sample, audio_start=AudioStart(start_sample))
    planner = WindowPlanner(config, start)
    end_sample = start_sample + (len(whole) + 1) * CHUNK_SAMPLES - missing
    if missing:
        return [*planner.add(whole), *planner.finish([last], end_sample=end_sample)]
    return [*planner.add([*whole, last]), *planner.finish([], end_sample=end_sample)]


def find_speech(probabilities: Iterable[float], config: WindowConfig, *, start_sample: int = 0) -> list[Span]:
    """Return the chunks that are speech: from the upper threshold until below the lower one."""
    chunks, is_speech = [], False
    for number, probability in enumerate(probabilities):
        is_speech = probability >= (config.silence_threshold if is_speech else config.speech_threshold)
        if is_speech:
            start = start_sample + number * CHUNK_SAMPLES
            chunks.append(Span(start, start + CHUNK_SAMPLES))
    return chunks


def seconds(plans: Iterable[WindowPlan]) -> list[list[tuple[float, float]]]:
    """Return the spans of the windows, in tenths of seconds."""
    return [
        [(round(span.start / SAMPLE_RATE_HZ, 1), round(span.end / SAMPLE_RATE_HZ, 1)) for span in plan.spans]
        for plan in plans
    ]


runs = st.tuples(st.sampled_from([SPEECH, HUM, SILENCE]), st.floats(0.03, 4.0)).map(lambda run: lasting(*run))
uploads = st.lists(runs, min_size=1, max_size=12).map(chain.from_iterable).map(list).filter(bool)
configs = st.builds(
    WindowConfig,
    window_s=st.floats(2.0, 8.0),
    edge_silence_s=st.sampled_from([0.0, 0.2, 0.4]),
    min_pause_s=st.sampled_from([0.1, 0.5]),
    min_speech_s=st.just(0.0),
)
starts = st.integers(0, 10**6)
missing_samples = st.integers(0, CHUNK_SAMPLES - 1)


@given(uploads, configs, starts, missing_samples)
def test_windows_hold_all_speech_once_and_in_order(
    upload: list[float], config: WindowConfig, start_sample: int, missing: int
) -> None:
    end_sample = start_sample + len(upload) * CHUNK_SAMPLES - missing

    plans = plan_windows(upload, config, start_sample=start_sample, missing=missing)

    spans = [span for plan in plans for span in plan.spans]
    assert all(span.start < span.end for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    assert all(start_sample <= span.start and span.end <= end_sample for span in spans)
    for chunk in find_speech(upload, config, start_sample=start_sample):
        heard = min(chunk.end, end_sample)
        assert sum(span.start <= chunk.start and heard <= span.end for span in spans) == 1


@given(uploads, configs)
def test_no_window_is_too_long(upload: list[float], config: WindowConfig) -> None:
    plans = plan_windows(upload, config)

    lengths = [sum(span.length for span in plan.spans) for plan in plans]
    assert all(length <= to_samples(config.window_s) for length in lengths)


@given(uploads, configs)
def test_no_window_holds_more_silence_than_two_edges_or_a_pause(
    upload: list[float], config: WindowConfig
) -> None:
    plans = plan_windows(upload, config)

    most = max(to_samples(2 * config.edge_silence_s), to_samples(config.min_pause_s) + CHUNK_SAMPLES)
    speech = find_speech(upload, config)
    for span in (span for plan in plans for span in plan.spans):
        inside = [chunk for chunk in speech if span.start < chunk.end and chunk.start < span.end]
        marks = [Span(span.start, span.start), *inside, Span(span.end, span.end)]
        assert all(after.start - before.end <= most for before, after in pairwise(marks))


@given(uploads, configs)
def test_pauses_are_in_mid_silence_between_the_regions_they_separate(
    upload: list[float], config: WindowConfig
) -> None:
    plans = plan_windows(upload, config)

    least = to_samples(config.min_pause_s)
    speech = find_speech(upload, config)
    for plan in plans:
        inside = [
            chunk for chunk in speech if plan.spans[0].start < chunk.end and chunk.start < plan.spans[-1].end
        ]
        expected = [
            before.end + (after.start - before.end) // 2
            for before, after in pairwise(inside)
            if after.start - before.end >= least
        ]
        assert list(plan.pauses) == expected


@given(uploads, configs)
def test_the_next_window_may_begin_between_this_one_and_the_next(
    upload: list[float], config: WindowConfig
) -> None:
    plans = plan_windows(upload, config)

    assert all(plan.spans[-1].end <= plan.end_sample for plan in plans)
    assert all(plan.end_sample <= later.spans[0].start for plan, later in pairwise(plans))
    assert all(plan.end_sample <= len(upload) * CHUNK_SAMPLES for plan in plans)


@given(uploads, configs)
def test_spare_silence_is_in_no_later_window(upload: list[float], config: WindowConfig) -> None:
    planner = WindowPlanner(config)
    spare: list[Span] = []
    for probability in upload:
        for plan in planner.add([probability]):
            assert not any(overlap(span, gone) for span in plan.spans for gone in spare)
        spare.append(planner.spare)
    for plan in planner.finish([], end_sample=len(upload) * CHUNK_SAMPLES):
        assert not any(overlap(span, gone) for span in plan.spans for gone in spare)


def overlap(one: Span, other: Span) -> bool:
    return max(one.start, other.start) < min(one.end, other.end)


def test_silence_gives_no_window() -> None:
    assert plan_windows(lasting(SILENCE, 5), WindowConfig()) == []


def test_a_click_is_not_speech() -> None:
    upload = [*lasting(SILENCE, 2), *lasting(SPEECH, 0.06), *lasting(SILENCE, 2)]

    assert plan_windows(upload, WindowConfig()) == []


def test_one_word_gives_a_window_with_silence_at_its_edges() -> None:
    upload = [*lasting(SILENCE, 2), *lasting(SPEECH, 0.32), *lasting(SILENCE, 2)]

    assert seconds(plan_windows(upload, WindowConfig())) == [[(1.6, 2.7)]]


def test_silence_longer_than_two_edges_is_left_out() -> None:
    upload = [*lasting(SPEECH, 2), *lasting(SILENCE, 6), *lasting(SPEECH, 2)]

    assert seconds(plan_windows(upload, WindowConfig())) == [[(0.0, 2.4), (7.6, 10.0)]]


def test_silence_shorter_than_two_edges_stays() -> None:
    upload = [*lasting(SPEECH, 2), *lasting(SILENCE, 0.7), *lasting(SPEECH, 2)]

    assert seconds(plan_windows(upload, WindowConfig())) == [[(0.0, 4.7)]]


def test_a_region_that_does_not_fit_begins_the_next_window_in_mid_silence() -> None:
    upload = [*lasting(SPEECH, 6), *lasting(SILENCE, 0.6), *lasting(SPEECH, 6)]

    plans = plan_windows(upload, WindowConfig(window_s=10))

    assert seconds(plans) == [[(0.0, 6.3)], [(6.3, 12.6)]]
    assert plans[0].end_sample == pytest.approx(6.3 * SAMPLE_RATE_HZ, abs=CHUNK_SAMPLES)


def test_a_window_ends_at_the_longest_pause_of_its_last_third() -> None:
    first = [*lasting(SPEECH, 5), *lasting(SILENCE, 1.2), *lasting(SPEECH, 2)]
    upload = [
        *first,
        *lasting(SILENCE, 0.8),
        *lasting(SPEECH, 0.6),
        *lasting(SILENCE, 0.5),
        *lasting(SPEECH, 6),
    ]

    plans = plan_windows(upload, WindowConfig(window_s=10))

    assert seconds(plans) == [[(0.0, 5.4), (5.8, 8.6)], [(8.6, 16.1)]]
    assert len(plans[0].pauses) == len(plans[1].pauses) == 1


@pytest.mark.parametrize("more", [[], lasting(SPEECH, 6)])
def test_a_pause_that_becomes_the_longest_ends_the_window(more: list[float]) -> None:
    speech = [*lasting(SPEECH, 7), *lasting(SILENCE, 1.2), *lasting(SPEECH, 1.5)]

    first, *_ = seconds(plan_windows([*speech, *lasting(SILENCE, 2), *more], WindowConfig(window_s=10)))

    assert first == [(0.0, 7.4), (7.8, 10.1)]


def test_a_longer_pause_that_is_too_early_ends_no_window() -> None:
    upload = [*lasting(SPEECH, 3), *lasting(SILENCE, 2), *lasting(SPEECH, 5.5), *lasting(SILENCE, 0.6)]

    first, second = seconds(plan_windows([*upload, *lasting(SPEECH, 6)], WindowConfig(window_s=10)))

    assert first == [(0.0, 3.4), (4.6, 10.8)]
    assert second == [(10.8, 17.1)]


def test_speech_without_a_pause_is_split_at_its_least_likely_moment() -> None:
    upload = [*lasting(SPEECH, 25), *lasting(HUM, 0.3), *lasting(SPEECH, 25)]

    assert seconds(plan_windows(upload, WindowConfig())) == [[(0.0, 25.1)], [(25.1, 50.3)]]


def test_a_split_is_not_made_too_early() -> None:
    upload = [*lasting(SPEECH, 2), *lasting(HUM, 0.3), *lasting(SPEECH, 38)]

    ((first,), *_) = seconds(plan_windows(upload, WindowConfig()))

    assert 20 <= first[1] <= 30


def test_a_window_is_yielded_as_soon_as_the_next_region_does_not_fit() -> None:
    planner = WindowPlanner(WindowConfig(window_s=10))
    assert list(planner.add([*lasting(SPEECH, 6), *lasting(SILENCE, 2), *lasting(SPEECH, 3)])) == []

    assert len(list(planner.add(lasting(SPEECH, 0.5)))) == 1


def test_a_window_is_yielded_in_silence_when_nothing_more_would_fit() -> None:
    planner = WindowPlanner(WindowConfig(window_s=10))

    plans = list(planner.add([*lasting(SPEECH, 9.6), *lasting(SILENCE, 1)]))

    assert seconds(plans) == [[(0.0, 9.9)]]


def test_the_quietest_moment_is_the_middle_of_the_longest_dip() -> None:
    levels = [0.9] * 20 + [0.1] + [0.9] * 20 + [0.4] * 7 + [0.9] * 20

    assert find_quietest(levels, 5, 65) == 44
