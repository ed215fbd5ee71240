"""Calls of an engine for the windows of one job, for tests of its transcripts."""

from collections.abc import Sequence

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
