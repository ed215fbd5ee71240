"""The choice of the language of windows whose clients name several that may be spoken."""

from collections.abc import Callable, Sequence

import msgspec

from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import Row
from worker.engines.qwen3.inputs import take_all
from worker.engines.qwen3.language_detection import LanguageDetector
from worker.engines.qwen3.token_generator import TokenGenerator

_CODES = {name: code for code, name in QWEN3_LANGUAGE_NAMES.items()}


def choose_languages(
    generator: TokenGenerator, rows: Sequence[Row], is_stopped: Callable[[], bool]
) -> list[Row]:
    """Return the rows, each with the spoken one of its `request.languages`, if any, as its language hint.

    It is the language that the model detects in the window. If that is another one, it is the language of the
    speech before, or else the first that the client named.

    Raises:
        DecodingStopped: `is_stopped` returned true.
        OutOfDeviceMemory: not even one window fits into memory.
    """
    asked = [row for row in rows if row.request.languages]
    if not asked:
        return list(rows)
    max_samples = sum(len(row.window.samples) for row in asked)
    detector = LanguageDetector(generator, is_stopped, max_samples=max_samples)
    detected = iter(detector.detect([take_all(row.window.samples) for row in asked]))
    chosen: list[Row] = []
    for row in rows:
        if row.request.languages:
            before = chosen[-1] if chosen and chosen[-1].listener is row.listener else None
            row = _force(row, next(detected), before)  # noqa: PLW2901 - the row with its language
        chosen.append(row)
    return chosen


def _force(row: Row, detected: str | None, before: Row | None) -> Row:
    previous = before.request.language_hint if before else row.previous_language
    candidates = row.request.languages
    code = next(
        (found for found in (_CODES.get(detected or ""), previous) if found in candidates), candidates[0]
    )
    return msgspec.structs.replace(
        row, request=msgspec.structs.replace(row.request, language_hint=code, languages=())
    )
