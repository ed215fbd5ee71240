"""A pass reaches the end of its window, with a stand-in that generates given tokens."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from worker.engines.whisper.passes import EncodedWindow, Pass

SOT, TIME_0_S = 90, 100
FIRST, SECOND = 1, 2  # the tokens of two sentences
FRAMES = 2_800


def at(seconds: float) -> int:
    """Return the token of a time."""
    return TIME_0_S + round(seconds * 50)


@dataclass
class Options:
    """The library's options that a pass reads."""

    word_timestamps: bool = False
    initial_prompt: str | None = None
    no_speech_threshold: float = 0.6
    log_prob_threshold: float = -1.0
    temperatures: tuple[float, ...] = (0.0, 0.2)
    prepend_punctuations: str = ""
    append_punctuations: str = ""


class ModelStandIn:
    """Faster-whisper's model, with answers that are given: tokens, and the mean log probability."""

    time_precision, input_stride = 0.02, 2
    _split_segments_by_timestamps = WhisperModel._split_segments_by_timestamps

    def __init__(self, *answers: tuple[list[int], float]) -> None:
        self.prompts: list[list[int]] = []
        self.temperatures: list[tuple[float, ...]] = []
        self.timed: list[list[float]] = []
        self._answers = list(answers)

    def get_prompt(self, tokenizer: Any, before: list[int]) -> list[int]:
        return [*before, SOT]

    def generate_with_fallback(
        self, encoding: Any, prompt: list[int], tokenizer: Any, options: Options
    ) -> tuple[Any, float, float, float]:
        self.prompts.append(prompt)
        self.temperatures.append(options.temperatures)
        tokens, avg_logprob = self._answers.pop(0)
        return SimpleNamespace(sequences_ids=[tokens], no_speech_prob=0.1), avg_logprob, 0.0, 1.2

    def add_word_timestamps(self, segments: list[list[dict[str, Any]]], *_: object, **__: object) -> None:
        self.timed += [[segment["start"] for segment in window] for window in segments]


TOKENIZER = SimpleNamespace(
    timestamp_begin=TIME_0_S,
    eot=SOT,
    decode=lambda tokens: " ".join(str(token) for token in tokens if token < SOT),
)


def run_pass(model: ModelStandIn, *, frame: int = 0, words: bool = False) -> tuple[Pass, list[Any]]:
    window = EncodedWindow(np.zeros((80, FRAMES), np.float32), None)
    one_pass = Pass(model, TOKENIZER, Options(words), window=window, frame=frame)
    return one_pass, list(one_pass.decode(None))


def times(segments: list[Any]) -> list[tuple[str, float, float]]:
    return [(segment.text, segment.start, segment.end) for segment in segments]


LEFT_OUT = [at(0), FIRST, at(24), at(24)]


@pytest.mark.parametrize("start_s", [0, 4])
def test_a_sentence_that_is_left_out_is_continued_in_the_same_encoding(start_s: int) -> None:
    model = ModelStandIn(([at(0), FIRST, at(22), at(22)], -0.2), ([SECOND, at(27.5 - start_s)], -0.4))

    one_pass, segments = run_pass(model, frame=100 * start_s)

    assert model.prompts == [[SOT], [FIRST, SOT, at(22)]]
    assert model.temperatures == [(0.0, 0.2), (0.0,)]
    assert times(segments) == [("1", start_s, start_s + 22), ("2", start_s + 22, 27.5)]
    assert [segment.avg_logprob for segment in segments] == [-0.2, -0.4]
    assert one_pass.next_frame == FRAMES


def test_a_text_is_continued_until_the_end_of_the_window() -> None:
    model = ModelStandIn((LEFT_OUT, -0.2), ([SECOND, at(25), at(25)], -0.4), ([SECOND, at(27.5)], -0.4))

    one_pass, segments = run_pass(model)

    assert times(segments) == [("1", 0, 24), ("2", 24, 25), ("2", 25, 27.5)]
    assert one_pass.next_frame == FRAMES


@pytest.mark.parametrize(
    "answer",
    [([SECOND, at(27)], -1.2), ([at(27)], -0.1), ([], -0.1), ([*[SECOND] * 80, at(27)], -0.1)],
    ids=["unlikely", "empty", "nothing", "a loop"],
)
def test_a_rest_that_cannot_be_continued_is_left_to_the_next_pass(answer: tuple[list[int], float]) -> None:
    one_pass, segments = run_pass(ModelStandIn((LEFT_OUT, -0.2), answer))

    assert times(segments) == [("1", 0, 24)]
    assert one_pass.next_frame == 2_400


def test_a_long_rest_is_left_to_the_next_pass() -> None:
    one_pass, segments = run_pass(ModelStandIn(([at(0), FIRST, at(19), at(19)], -0.2)))

    assert times(segments) == [("1", 0, 19)]
    assert one_pass.next_frame == 1_900


def test_a_continued_sentence_without_an_end_ends_with_the_window() -> None:
    _, segments = run_pass(ModelStandIn((LEFT_OUT, -0.2), ([SECOND], -0.4)))

    assert times(segments) == [("1", 0, 24), ("2", 24, 28)]


def test_words_of_one_encoding_are_timed_together() -> None:
    model = ModelStandIn((LEFT_OUT, -0.2), ([SECOND, at(27.5)], -0.4))

    run_pass(model, words=True)

    assert model.timed == [[0, 24]]
