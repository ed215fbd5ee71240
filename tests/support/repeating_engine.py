"""An engine with the same transcript for every window, for tests of the model process around it."""

from collections.abc import Sequence

from shared.jobs import TranscriptionRequest
from shared.transcripts import WindowTranscript
from worker.engines.protocol import DecodingListener, PhaseReporter, Window

NOTHING = WindowTranscript(())


class RepeatingEngine:
    """An engine with one transcript, by default empty, that records its windows and their languages."""

    def __init__(
        self, transcript: WindowTranscript = NOTHING, *, batch_windows: int = 2, needs_speech: bool = False
    ) -> None:
        self.batch_windows = batch_windows
        self.needs_speech = needs_speech
        self.windows: list[Window] = []
        self.previous_languages: list[str | None] = []
        self._transcript = transcript

    def load(self, report_phase: PhaseReporter) -> str:
        """There is nothing to load."""
        report_phase("nothing to load")
        return "cpu"

    def decode_windows(
        self,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        *,
        previous_language: str | None = None,
    ) -> list[WindowTranscript]:
        """The transcript, as often as there are windows."""
        self.windows += windows
        self.previous_languages.append(previous_language)
        return [self._transcript for _ in windows]
