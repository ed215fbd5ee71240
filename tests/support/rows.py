"""Calls of an engine, or of the decoding of Qwen3-ASR, for the windows of one job."""

from collections.abc import Sequence
from itertools import groupby

import msgspec

from shared.jobs import FailureCode, TranscriptionRequest
from shared.transcripts import WindowTranscript
from worker.engines.protocol import (
    DecodingListener,
    DecodingStopped,
    Engine,
    ModelUnavailable,
    Row,
    RowFailure,
    RowOutcome,
    RowStopped,
    Window,
    WordsUnsupported,
)
from worker.engines.qwen3.decoding import RowDecoding
from worker.engines.qwen3.language_regions import CutWindows
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.session import DecodingSession
from worker.engines.qwen3.token_generator import TokenGenerator
from worker.engines.qwen3.transcripts import DecodedPart

ERRORS = {
    FailureCode.WORDS_UNSUPPORTED: WordsUnsupported,
    FailureCode.MODEL_UNAVAILABLE: ModelUnavailable,
}


def decode_windows(
    engine: Engine,
    windows: Sequence[Window],
    request: TranscriptionRequest,
    listener: DecodingListener,
    *,
    previous_language: str | None = None,
) -> list[WindowTranscript]:
    """Return the transcript of each window of one job, decoded in one batch.

    Raises the error that a failure stands for, and DecodingStopped for a stop.
    """
    rows = [Row(window, request, listener, previous_language) for window in windows]
    return [open_outcome(outcome) for _, outcome in engine.decode_rows(rows)]


def open_outcome(outcome: RowOutcome) -> WindowTranscript:
    """Return the transcript, or raise the error that another outcome stands for."""
    if isinstance(outcome, RowStopped):
        raise DecodingStopped
    if isinstance(outcome, RowFailure):
        raise ERRORS.get(outcome.code, RuntimeError)(outcome.message)
    return outcome


def decode_parts(
    generator: TokenGenerator, parts: Sequence[Window], like: Row, rules: SequenceRules
) -> list[DecodedPart]:
    """Return the text of the parts of one job `like` this row; parts with one index belong to one window.

    Raises the error that a failure stands for, and DecodingStopped for a stop.
    """
    cuts = [CutWindows(list(same)) for _, same in groupby(parts, key=lambda part: part.index)]
    session = DecodingSession(generator, max_sequences=len(cuts))
    rows = [msgspec.structs.replace(like, window=cut.parts[0]) for cut in cuts]
    decoded = [
        RowDecoding(row, cut, generator.decode_tokens, rules) for row, cut in zip(rows, cuts, strict=True)
    ]
    session.add(decoded)
    found: list[DecodedPart] = []
    while session.rows:
        for done in session.advance():
            if not isinstance(done.found, list):
                open_outcome(done.found)
            else:
                found += done.found
    return found
