"""The text of a job so far, composed from its events."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.events import AnyEvent, Partial, Progress, Requeued, SegmentDone
from shared.transcripts import Segment, join_texts, main_language, separator


@dataclass(slots=True)
class _OpenWindow:
    """What is known of a window that is not finished: what stays, what may change, and how it begins."""

    delta: str = ""
    tail: str = ""
    language: str | None = None


class PartialText:
    """Takes the events of a job in order; `text` and `language` are what they amount to."""

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
                # A window may end without a segment: what its partials said was no speech after all.
                case Requeued() | Progress():
                    self._drop_partials()

    @property
    def text(self) -> str:
        """All text so far; its end may still change."""
        language = self.language
        texts = [(opened.delta + opened.tail, opened.language or language) for opened in self._in_order()]
        return join_texts([(self._finished, None), *texts])

    @property
    def settled_text(self) -> str:
        """The text so far that stays as it is, whatever follows.

        A window that does not say its language is left out, for as long as it is open, if there is text
        before it: whether a space belongs between them is not known.
        """
        settled = self._finished
        for opened in self._in_order():
            if settled and opened.language is None and opened.delta.strip():
                break
            settled = join_texts([(settled, None), (opened.delta, opened.language)])
        return settled

    @property
    def language(self) -> str | None:
        """The language with the most speech so far; before that is known, what was asked for or is heard."""
        heard = (opened.language for opened in self._in_order() if opened.language)
        return main_language(self._segments) or self._hint or next(heard, None)

    def _take_partial(self, partial: Partial) -> None:
        opened = self._open.setdefault(partial.window, _OpenWindow())
        if not opened.delta.strip():
            opened.language = partial.language
        opened.delta += partial.delta
        opened.tail = partial.tail

    def _in_order(self) -> Iterable[_OpenWindow]:
        return (self._open[window] for window in sorted(self._open))

    # The log gives up all partials as soon as one window is finished or given up, and so does its reader.
    def _drop_partials(self) -> None:
        self._open.clear()
