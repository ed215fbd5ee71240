"""Asks Qwen3-ASR which language each stretch of speech is in: the head of its answer, and no more of it."""

from collections.abc import Iterator, Sequence
from functools import partial

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import DecodingListener, DecodingStopped, Samples, Window
from worker.engines.qwen3.decoding import OutOfDeviceMemory, TokenGenerator, language_code
from worker.engines.qwen3.languages import (
    CutWindows,
    Stretch,
    cut_by_language,
    find_stretches,
    name_stretches,
)
from worker.engines.qwen3.row import END_TOKENS, Prompt
from worker.engines.qwen3.seams import AskLanguages, find_ends, read_stretch
from worker.engines.qwen3.text import TokenText, find_head

# There is memory for as many samples as the windows have, and in any case for one window of 30 s.
_MIN_BATCH_SAMPLES = 30 * SAMPLE_RATE_HZ
# A head has three or four tokens; who has said so many without one says something else.
_HEAD_TOKENS = 48


def cut_at_language_changes(
    generator: TokenGenerator,
    windows: Sequence[Window],
    listener: DecodingListener,
    changes: LanguageChanges,
) -> CutWindows:
    """Return the parts of `windows`, each in one language as far as `changes` has them searched.

    Raises:
        DecodingStopped: the listener said stop.
        OutOfDeviceMemory: not even one stretch of speech fits.
    """
    if changes is LanguageChanges.OFF:
        return CutWindows(windows)
    ask = partial(ask_languages, generator, listener=listener, most_samples=_measure(windows))
    found = [_find_clips(window, changes) for window in windows]
    clips = [
        clip.read(window)
        for window, stretches in zip(windows, found, strict=True)
        for ends in stretches
        for clip in ends
    ]
    languages = iter(ask(clips))
    cuts = [
        _cut_window(window, [name_stretches(ends, languages) for ends in stretches], ask)
        for window, stretches in zip(windows, found, strict=True)
    ]
    return CutWindows(
        [part for cut in cuts for part in cut.parts],
        {index: warnings for cut in cuts for index, warnings in cut.warnings.items()},
    )


def ask_languages(
    generator: TokenGenerator, clips: Sequence[Samples], listener: DecodingListener, *, most_samples: int
) -> list[str | None]:
    """Qwen's name of the language in each of `clips`, None where it hears no speech or names none of its own.

    No more clips are asked about at once than have `most_samples` in all, padded to the longest of them.
    """
    languages: list[str | None] = [None] * len(clips)
    for numbers in _batch_by_length(clips, most_samples):
        said = _ask_or_halve(generator, [clips[number] for number in numbers], listener)
        for number, language in zip(numbers, said, strict=True):
            languages[number] = language
    return languages


def _find_clips(window: Window, changes: LanguageChanges) -> list[tuple[Stretch, ...]]:
    """What to ask about to know the languages of each stretch; nothing where there can be but one."""
    searches_stretches = changes is LanguageChanges.ALWAYS
    clips = [find_ends(stretch) if searches_stretches else (stretch,) for stretch in find_stretches(window)]
    return clips if sum(map(len, clips)) > 1 else []


def _cut_window(window: Window, stretches: Sequence[Sequence[Stretch]], ask: AskLanguages) -> CutWindows:
    """Cut `window` by what was heard at the ends of each of its `stretches`."""
    if not stretches:
        return CutWindows([window])
    readings = [read_stretch(window, ends, ask) for ends in stretches]
    return cut_by_language(
        window,
        [stretch for reading in readings for stretch in reading.stretches],
        [warning for reading in readings for warning in reading.warnings],
    )


def _ask_or_halve(
    generator: TokenGenerator, clips: Sequence[Samples], listener: DecodingListener
) -> list[str | None]:
    try:
        return _ask(generator, clips, listener)
    except OutOfDeviceMemory:
        middle = len(clips) // 2
        if not middle:
            raise
    return [
        language for half in (clips[:middle], clips[middle:]) for language in _ask(generator, half, listener)
    ]


def _ask(generator: TokenGenerator, clips: Sequence[Samples], listener: DecodingListener) -> list[str | None]:
    answers = [_Answer(TokenText(generator.decode_tokens)) for _ in clips]

    def follow(tokens: Sequence[int]) -> list[bool]:
        if listener.is_stopped():
            raise DecodingStopped
        for answer, token in zip(answers, tokens, strict=True):
            answer.push(token)
        return [answer.is_over for answer in answers]

    if listener.is_stopped():
        raise DecodingStopped
    generator.generate(
        [Prompt(clip, "", None, ()) for clip in clips],
        follow,
        max_new_tokens=_HEAD_TOKENS,
        avoid_repeats=False,
    )
    return [answer.language for answer in answers]


class _Answer:
    """What the model says about one clip, up to the end of the head."""

    def __init__(self, said: TokenText) -> None:
        self.is_over = False
        self.language: str | None = None
        self._said = said

    def push(self, token: int) -> None:
        """Take the next token; what comes when it is over is not looked at."""
        if self.is_over:
            return
        if token in END_TOKENS:
            self.is_over = True
            return
        self._said.push(token)
        if head := find_head(self._said.text):
            self.is_over = True
            self.language = head.language if language_code(head.language) else None


def _measure(windows: Sequence[Window]) -> int:
    """How many samples may be asked about at once: those that the decoding of `windows` takes, or more."""
    return max(_MIN_BATCH_SAMPLES, len(windows) * max(len(window.samples) for window in windows))


def _batch_by_length(clips: Sequence[Samples], most_samples: int) -> Iterator[list[int]]:
    """The numbers of `clips`, the shortest first."""
    batch: list[int] = []
    for number in sorted(range(len(clips)), key=lambda number: len(clips[number])):
        if batch and (len(batch) + 1) * len(clips[number]) > most_samples:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
