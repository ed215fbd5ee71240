"""The text of a job so far, composed from its events."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.events import AnyEvent, Partial, Progress, Requeued, SegmentDone
from shared.transcripts import Segment, join_texts, main_language, separator


@dataclass(slots=True)
class _OpenWindow:
    """A window that is not finished: its text that stays, its text that may change, its first language."""

    delta: str = ""
    tail: str = ""
    language: str | None = None


class PartialText:
    """Composes `text` and `language` from the events of a job, taken in order."""

    def __init__(self, language_hint: str | None) -> None:
        self._hint = language_hint
        self._segments: list[Segment] = []
        self._finished = ""
        self._open: dict[int, _OpenWindow] = {}

    def take(self, events: Iterable[AnyEvent]) -> None:
        """Take the next events of the log."""
        for event in events:
            match event:
                case Partial():
                    self._take_partial(event)
                case SegmentDone(segment=segment):
                    self._drop_partials()
                    self._segments.append(segment)
                    gap = separator(self._finished, segment.text, segment.language)
                    self._finished += gap + segment.text.strip()
                # A window may end without a segment, if its partials were not speech after all.
                case Requeued() | Progress():
                    self._drop_partials()

    @property
    def text(self) -> str:
        """The whole text so far; its end may still change."""
        language = self.language
        texts = [(opened.delta + opened.tail, opened.language or language) for opened in self._in_order()]
        return join_texts([(self._finished, None), *texts])

    @property
    def settled_text(self) -> str:
        """The text so far that no later event changes.

        If there is text before an open window of unknown language, the window is left out: whether a space
        belongs between the two depends on the language.
        """
        settled = self._finished
        for opened in self._in_order():
            if settled and opened.language is None and opened.delta.strip():
                break
            settled = join_texts([(settled, None), (opened.delta, opened.language)])
        return settled

    @property
    def language(self) -> str | None:
        """The language with most of the speech; before the first segment, the hint or the detected one."""
        detected = (opened.language for opened in self._in_order() if opened.language)
        return main_language(self._segments) or self._hint or next(detected, None)

    def _take_partial(self, partial: Partial) -> None:
        opened = self._open.setdefault(partial.window, _OpenWindow())
        if not opened.delta.strip():
            opened.language = partial.language
        opened.delta += partial.delta
        opened.tail = partial.tail

    def _in_order(self) -> Iterable[_OpenWindow]:
        return (self._open[window] for window in sorted(self._open))

    # The log drops all partials as soon as one window is finished or given up.
    def _drop_partials(self) -> None:
        self._open.clear()
