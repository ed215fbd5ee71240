"""Whisper on the CPU: faster-whisper (CTranslate2) with 8-bit weights, two windows at a time."""

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, NamedTuple

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import WordTimestamps
from shared.transcripts import Segment, SegmentDecoding, WindowTranscript, Word, join_segments, separator
from worker.engines.protocol import (
    ModelUnavailable,
    PhaseReporter,
    Row,
    RowFailure,
    RowOutcome,
    RowStopped,
    TakeRows,
    Window,
    raise_if_stopped,
    settle,
    take_no_rows,
)
from worker.engines.whisper.model import (
    FALLBACK_TEMPERATURES,
    DecodingOptions,
    WhisperModel,
)
from worker.engines.whisper.passes import FRAMES_PER_S, EncodedWindow
from worker.engines.whisper.weights import find_weights
from worker.settings import WorkerSettings

# Whisper names Javanese by a code that ISO has withdrawn.
_WHISPER_CODES = {"jv": "jw"}
_API_CODES = {theirs: ours for ours, theirs in _WHISPER_CODES.items()}

# Windows decoded at the same time. Threads wait for each other within one window, but hardly in two windows.
_PARALLEL_WINDOWS = 2

# The seconds of a window that are drafted. More would take longer, and fewer hold too few words.
_DRAFT_S = 5.0

# Below this probability, a detected language is a guess.
_SURE_PROBABILITY = 0.5


class WhisperEngine:
    """The engine `whisper`; `worker.engines.protocol.Engine` describes its methods."""

    needs_speech = True
    joins_rows = False
    _parallel_windows = 1  # until `load`
    _model: WhisperModel  # since `load`

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    @property
    def batch_windows(self) -> int:
        """Two rounds of windows, since some take longer than others."""
        return 2 * self._parallel_windows if self._parallel_windows > 1 else 1

    def load(self, report_phase: PhaseReporter) -> str:
        """Find or download the weights, and load them into memory."""
        report_phase("finding weights")
        folder = find_weights(self._settings.whisper_model, self._settings.models_dir)
        report_phase("loading weights")
        threads = self._settings.cpu_threads or count_cores()
        self._parallel_windows = min(threads, _PARALLEL_WINDOWS)
        try:
            self._model = WhisperModel(folder, cpu_threads=threads, parallel_windows=self._parallel_windows)
        except Exception as error:  # border: damaged files raise errors of many libraries
            raise ModelUnavailable(
                f"The Whisper model in {folder} cannot be loaded ({error}). "
                "Set WHISPER_MODEL to a folder with a CTranslate2 model, or leave it empty for the default."
            ) from error
        return "cpu"

    def decode_rows(
        self,
        rows: Sequence[Row],
        take_more: TakeRows = take_no_rows,  # noqa: ARG002 - its batches are fixed
    ) -> Iterator[tuple[Row, RowOutcome]]:
        """Transcribe the rows side by side, and yield each when it and all before it in its job are done."""
        with ThreadPoolExecutor(self._parallel_windows, "windows") as pool:
            encoded = pool.map(lambda row: settle(partial(self._encode, row)), rows)
            settled = list(_settle_languages(zip(rows, encoded, strict=True)))
            # A stop is raised by each row, so that the pool ends soon.
            decodings = [
                (row, pool.submit(settle, partial(self._transcribe, row, found))) for row, found in settled
            ]
            for row, outcome in _follow_jobs(decodings):
                yield row, settle(partial(_publish, row, outcome))

    def _encode(self, row: Row) -> "_Encoded":
        raise_if_stopped(row.listener)
        encoded = self._model.encode(row.window.samples, row.window.pauses)
        if row.request.language_hint:
            return _Encoded(encoded, row.request.language_hint)
        if among := row.request.languages:
            codes = [_WHISPER_CODES.get(language, language) for language in among]
            code, probability = self._model.choose_language(encoded, codes)
        else:
            code, probability = self._model.detect_language(encoded)
        return _Encoded(encoded, _API_CODES.get(code, code), is_sure=probability >= _SURE_PROBABILITY)

    def _transcribe(self, row: Row, encoded: "_MaybeEncoded") -> RowOutcome:
        if not isinstance(encoded, _Encoded):
            return encoded
        language, request = encoded.language, row.request
        options = DecodingOptions(
            language=_WHISPER_CODES.get(language, language),
            beam_size=self._settings.whisper_beam_size,
            word_timestamps=request.word_timestamps is not WordTimestamps.NONE,
            prompt=request.context or None,
            temperatures=FALLBACK_TEMPERATURES if request.temperature is None else (request.temperature,),
        )
        raise_if_stopped(row.listener)
        segments: list[Segment] = []
        for found in self._model.generate(encoded.window, options):
            raise_if_stopped(row.listener)
            segments.append(place_segment(row.window, found, language=language, earlier=segments))
        return WindowTranscript(tuple(segments))

    def draft_row(self, row: Row) -> None:
        """Publish a quick guess at the first seconds; see `worker.engines.protocol.DraftingEngine`.

        Whisper encodes 30 s whatever the window holds, so the first text of a stream would come late. The
        draft is a loop now and then. So it is only a tail, which the window's own text replaces.
        """
        raise_if_stopped(row.listener)
        if row.request.languages:  # a draft chooses among all languages
            return
        hint = row.request.language_hint
        beginning = row.window.samples[: int(_DRAFT_S * SAMPLE_RATE_HZ)]
        text, code = self._model.draft(beginning, _WHISPER_CODES.get(hint, hint) if hint else None)
        if text:
            row.listener.on_partial(row.window.index, "", text, _API_CODES.get(code, code))


class _Encoded(NamedTuple):
    """An encoded window and its language, which is a guess if not `is_sure`."""

    window: EncodedWindow
    language: str
    is_sure: bool = True


_MaybeEncoded = _Encoded | RowFailure | RowStopped


def _settle_languages(rows: Iterable[tuple[Row, _MaybeEncoded]]) -> Iterator[tuple[Row, _MaybeEncoded]]:
    """Yield all rows in order; a language that is a guess becomes that of the row before in its job."""
    previous: dict[int, str | None] = {}
    for row, found in rows:
        known = previous.setdefault(id(row.listener), row.previous_language)
        if isinstance(found, _Encoded):
            language = found.language if found.is_sure or known is None else known
            previous[id(row.listener)] = language
            yield row, found._replace(language=language)
        else:
            yield row, found


def _follow_jobs(decodings: Sequence[tuple[Row, Future[RowOutcome]]]) -> Iterator[tuple[Row, RowOutcome]]:
    """Yield the rows of each job in order, each as soon as it is done."""
    waiting = dict(enumerate(decodings))
    for _ in as_completed(decoding for _, decoding in decodings):
        held: set[int] = set()
        for number, (row, decoding) in list(waiting.items()):
            if id(row.listener) in held or not decoding.done():
                held.add(id(row.listener))
            else:
                del waiting[number]
                yield row, decoding.result()


def _publish(row: Row, outcome: RowOutcome) -> RowOutcome:
    """Publish the segments of a transcript, and return the outcome."""
    if isinstance(outcome, WindowTranscript):
        for number, segment in enumerate(outcome.segments):
            raise_if_stopped(row.listener)
            gap = separator(join_segments(outcome.segments[:number]), segment.text, segment.language)
            row.listener.on_partial(row.window.index, gap + segment.text, "", segment.language)
    return outcome


def place_segment(window: Window, found: Any, *, language: str, earlier: Sequence[Segment]) -> Segment:
    """Return the segment that faster-whisper `found`, in seconds of the upload, after the `earlier` ones.

    `found` is a faster-whisper `Segment`; its times are seconds of the window.
    """
    floor_s = earlier[-1].end_s if earlier else 0.0
    words: list[Word] = []
    for word in (word for word in found.words or () if word.word.strip()):
        start_s, end_s = _place_after(words[-1].end_s if words else floor_s, window, word)
        words.append(Word(start_s, end_s, word.word.strip()))
    start_s, end_s = (words[0].start_s, words[-1].end_s) if words else _place_after(floor_s, window, found)
    return Segment(
        start_s, end_s, found.text.strip(), language, tuple(words), _describe_decoding(window, found)
    )


def _describe_decoding(window: Window, found: Any) -> SegmentDecoding:
    return SegmentDecoding(
        tokens=tuple(int(token) for token in found.tokens),
        temperature=_to_finite(found.temperature or 0.0),
        avg_logprob=_to_finite(found.avg_logprob),
        no_speech_prob=_to_finite(found.no_speech_prob),
        window_start_s=round(window.to_upload_s(found.seek / FRAMES_PER_S), 3),
    )


def _to_finite(number: Any) -> float:
    # JSON has no infinity, and the encoder refuses numpy's numbers.
    return round(float(number), 4) if math.isfinite(number) else 0.0


def _place_after(floor_s: float, window: Window, found: Any) -> tuple[float, float]:
    # The times of faster-whisper's words are numpy numbers.
    start_s, end_s = window.to_upload_interval_s(float(found.start), float(found.end))
    start_s = max(floor_s, round(start_s, 3))
    return start_s, max(start_s, round(end_s, 3))


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
