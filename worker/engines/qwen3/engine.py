"""The engine `qwen3`: Qwen3-ASR by Qwen's own package on torch, which are imported in `load`."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from shared.transcripts import WindowTranscript
from worker.engines.catalog import LanguageChanges, find_word_languages
from worker.engines.protocol import (
    LOADED,
    ModelUnavailable,
    PhaseReporter,
    Row,
    RowFailure,
    RowOutcome,
    RowStopped,
    TakeRows,
    raise_if_stopped,
    settle,
    take_no_rows,
)
from worker.engines.qwen3 import device, inputs, loading
from worker.engines.qwen3.aligner import Qwen3Aligner, choose_aligner, load_aligner
from worker.engines.qwen3.decoding import DoneRow, RowDecoding
from worker.engines.qwen3.encoder import AudioEncoder
from worker.engines.qwen3.generation import GenerationBatch
from worker.engines.qwen3.language_changes import cut_at_language_changes
from worker.engines.qwen3.language_choice import choose_languages
from worker.engines.qwen3.language_regions import CutWindows
from worker.engines.qwen3.sequence_rules import DEFAULT_RULES, SequenceRules
from worker.engines.qwen3.session import DecodingSession
from worker.engines.qwen3.step_watch import StepWatch
from worker.engines.qwen3.token_generator import Generation, OutOfDeviceMemory, TokenGenerator
from worker.engines.qwen3.transcripts import DecodedPart, compose_transcripts
from worker.engines.qwen3.words import WordTimer
from worker.settings import WorkerSettings

# The share of REQUEST_TIMEOUT after which no repair of a truncated text begins. A repair takes at most twice
# the time before it. So the window is done after three times the share.
_REPAIR_SHARE = 1 / 8


class WindowDecoder:
    """The decoding of windows, which both engines share. Each loads its model in its own way."""

    needs_speech = True
    joins_rows = False
    batch_windows: int
    _model: TokenGenerator  # since `load`

    def __init__(self, settings: WorkerSettings, timer: WordTimer, rules: SequenceRules) -> None:
        self._settings = settings
        self._timer = timer
        within_s = settings.request_timeout * _REPAIR_SHARE
        self._rules = msgspec.structs.replace(rules, repair_within_s=within_s)

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        """Transcribe the rows at once, with a partial for each token."""
        session = DecodingSession(self._model, max_sequences=len(rows))
        try:
            yield from self._add(session, rows)
            while session.rows:
                for done in session.advance():
                    yield done.row.row, self._compose(done)
                if self.joins_rows:
                    yield from self._add(session, take_more(max(0, self.batch_windows - session.rows)))
        finally:
            session.close()
            self._note_memory(session.max_fitting)

    def _add(self, session: DecodingSession, rows: Sequence[Row]) -> Iterator[tuple[Row, RowOutcome]]:
        """Cut the rows at language changes while others are decoded, and let the session decode them too."""
        if not rows:
            return
        cut = settle(partial(self._cut, session, rows))
        if isinstance(cut, RowFailure | RowStopped):
            yield from ((row, cut) for row in rows)
            return
        decode, rules = self._model.decode_tokens, self._rules
        parts = zip(rows, cut[1], cut[0], strict=True)
        session.add([RowDecoding(row, part, decode, rules, spoken.request) for row, part, spoken in parts])

    def _cut(self, generator: TokenGenerator, rows: Sequence[Row]) -> tuple[list[Row], list[CutWindows]]:
        """Return the rows with a language where clients name several, and the parts of their windows."""
        listeners = list({id(row.listener): row.listener for row in rows}.values())

        def are_stopped() -> bool:
            return all(listener.is_stopped() for listener in listeners)

        spoken = choose_languages(generator, rows, are_stopped)
        changes = [
            LanguageChanges.OFF if row.request.language_hint else self._settings.language_changes
            for row in spoken
        ]
        windows = [row.window for row in rows]
        return spoken, cut_at_language_changes(generator, windows, changes, are_stopped)

    def _compose(self, done: DoneRow) -> RowOutcome:
        """Return the transcript of a row, or the reason why it has none."""
        if not isinstance(done.found, list):
            return done.found
        return settle(partial(self._compose_transcript, done.row, done.found))

    def _compose_transcript(self, decoded: RowDecoding, found: Sequence[DecodedPart]) -> WindowTranscript:
        row = decoded.row
        raise_if_stopped(row.listener)
        with device.watch_device():
            parts = self._timer.add_words(found, row.request, row.listener)
        (transcript,) = compose_transcripts([row.window], parts, decoded.warnings)
        return transcript

    def _note_memory(self, max_fitting: int | None) -> None:
        """Take smaller batches from now on if the device has too little memory for more."""
        if max_fitting is not None:
            self.batch_windows = max(1, min(self.batch_windows, max_fitting))


class Qwen3Engine(WindowDecoder):
    """The engine `qwen3`; `worker.engines.protocol.Engine` describes its methods."""

    _model: "Qwen3Model"
    _report_phase: PhaseReporter  # since `load`

    def __init__(self, settings: WorkerSettings, *, rules: SequenceRules = DEFAULT_RULES) -> None:
        timer = WordTimer(self._load_aligner, find_word_languages(settings.aligner_id))
        super().__init__(settings, timer, rules)
        self.batch_windows = max(1, settings.batch_windows)  # without the setting, `load` chooses it

    def load(self, report_phase: PhaseReporter) -> str:
        """Import the package, find or download the weights, and load them onto the device."""
        self._report_phase = report_phase
        report_phase("importing libraries")
        torch = _import_torch()
        device_name = device.choose_device(torch, self._settings.device)
        if self._settings.cpu_threads:
            torch.set_num_threads(self._settings.cpu_threads)
        report_phase("finding weights")
        folder = loading.find_qwen3_weights(self._settings.model_id)
        report_phase("loading weights")
        with device.watch_device():
            placement = device.Placement(
                device_name, device.choose_dtype(torch, self._settings.dtype, device_name)
            )
        self._model = loading.place_weights(torch, folder, placement, Qwen3Model, _refuse)
        if not self._settings.batch_windows:
            self.batch_windows = device.choose_batch_windows(torch, placement)
        return device_name

    def _load_aligner(self) -> Qwen3Aligner:
        self._report_phase("loading aligner")
        aligner_id = choose_aligner(self._settings.aligner_id, self._settings.model_id)
        placement = self._model.placement
        aligner = load_aligner(aligner_id, placement)
        if not self._settings.batch_windows:
            self._note_memory(device.choose_batch_windows(_import_torch(), placement))
        self._report_phase(LOADED)
        return aligner


class Qwen3Model:
    """The model on its device, and its processor: a `token_generator.TokenGenerator`."""

    joins_generations = False

    def __init__(self, folder: Path, placement: device.Placement) -> None:
        self._thinker: Any = loading.load_model(folder, placement).thinker
        self.placement = placement
        self._processor = inputs.PromptProcessor(folder)
        self._watch = StepWatch(self._thinker)
        self._encoder = AudioEncoder(self._thinker.audio_tower, self._processor)
        self.decode_tokens = self._processor.decode
        self._batches: list[GenerationBatch] = []

    def start(self, generations: Sequence[Generation]) -> None:
        """Open these generations; the next step reads their prompts."""
        self._batches.append(GenerationBatch(self._thinker, generations, self._prepare))

    def step(self) -> None:
        """Continue the open generations; end this process if its GPU is lost."""
        import torch

        batches, self._batches = self._batches, []  # an error drops all of them
        opened = [generation for batch in batches for generation in batch.generations]
        watched = self._watch.watch(lambda: all(generation.is_stopped() for generation in opened))
        try:
            with device.watch_device(), torch.inference_mode(), watched:
                for batch in batches:
                    batch.step()
        except RuntimeError as error:
            if not device.is_out_of_memory(error):
                raise
            message = (
                f"the device has too little memory for {len(opened)} windows at once ({error}); "
                "lower BATCH_WINDOWS, WINDOW_S or MAX_CONTEXT_BYTES"
            )
        else:
            self._batches = [batch for batch in batches if batch.generations]
            return
        # Only here, outside of the handler, nothing refers to the tensors of the failed call any more.
        del batches
        torch.cuda.empty_cache()
        raise OutOfDeviceMemory(message)

    def drop(self, generations: Sequence[Generation]) -> None:
        """Continue these generations no more."""
        dropped = set(map(id, generations))
        for batch in self._batches:
            batch.drop(dropped)
        self._batches = [batch for batch in self._batches if batch.generations]

    def _prepare(self, prompts: Sequence[inputs.Prompt]) -> list[inputs.PreparedSequence]:
        encoded = self._encoder.encode([prompt.audio for prompt in prompts])
        return [
            inputs.PreparedSequence(self._processor.tokenize(prompt, audio_tokens=len(audio)), audio)
            for prompt, audio in zip(prompts, encoded, strict=True)
        ]


def _import_torch() -> Any:
    """Import torch and Qwen's package, without the unused packages that it would import."""
    loading.defer_nagisa()
    try:
        with loading.hide_unused_packages():
            import qwen_asr  # noqa: F401 - so that the slow import counts for the phase of this name
        import torch
    except (ImportError, OSError) as error:  # an OSError if a library of the system is missing
        raise ModelUnavailable(
            f"ENGINE=qwen3 needs the package {getattr(error, 'name', None) or 'torch'}, which cannot be "
            f"imported in {sys.prefix} ({error}). `make run ENGINE=qwen3` sets up an environment that has it."
        ) from error
    loading.silence_transformers()
    loading.hide_progress_bars()
    return torch


def _refuse(folder: Path, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model in {folder} cannot be loaded ({reason}). Set MODEL_ID to a Qwen3-ASR model: its name on "
        "the hub, or a folder with all its files. Fetch damaged or missing files again."
    )
