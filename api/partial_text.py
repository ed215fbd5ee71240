"""The text of a job so far, composed from its events."""

from collections.abc import Iterable

from shared.events import AnyEvent, Partial, Requeued, SegmentDone
from shared.transcripts import Segment, join_segments, join_texts, main_language


class PartialText:
    """Takes the events of a job in order; `text` and `language` are what they amount to."""

    def __init__(self, language_hint: str | None) -> None:
        self._hint = language_hint
        self._segments: list[Segment] = []
        self._deltas: dict[int, str] = {}
        self._tails: dict[int, str] = {}

    def take(self, events: Iterable[AnyEvent]) -> None:
        """Take the next events of the log."""
        for event in events:
            match event:
                case Partial(window=window, delta=delta, tail=tail):
                    self._deltas[window] = self._deltas.get(window, "") + delta
                    self._tails[window] = tail
                case SegmentDone(segment=segment):
                    self._drop_partials()
                    self._segments.append(segment)
                case Requeued():
                    self._drop_partials()

    @property
    def text(self) -> str:
        """All text so far; its end may still change."""
        open_windows = (self._deltas[window] + self._tails[window] for window in sorted(self._deltas))
        finished = join_segments(self._segments)
        return join_texts([(finished, None), *((text, self.language) for text in open_windows)])

    @property
    def language(self) -> str | None:
        """The language with the most speech so far, or the one that was asked for."""
        return main_language(self._segments) or self._hint

    # The log gives up all partials as soon as one window is finished or given up, and so does its reader.
    def _drop_partials(self) -> None:
        self._deltas.clear()
        self._tails.clear()
