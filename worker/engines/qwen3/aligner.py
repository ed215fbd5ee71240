"""Qwen's forced aligner on torch: finds the times of each word of a text in its audio."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.audio_format import SAMPLE_RATE_HZ
from shared.model_folder import CONFIG_NAME
from worker.engines.catalog import DEFAULT_ALIGNER_ID, QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import ModelUnavailable, Samples
from worker.engines.qwen3.device import Placement, is_out_of_memory
from worker.engines.qwen3.inputs import load_processor, pad_samples
from worker.engines.qwen3.loading import find_qwen3_weights, load_model, place_weights
from worker.engines.qwen3.step_watch import StepWatch
from worker.engines.qwen3.token_generator import OutOfDeviceMemory
from worker.engines.qwen3.words import AlignedUnit

_FOLDER = "aligner"  # in a folder that holds more than the model
_ALIGNER_FIELD = "timestamp_token_id"  # in the configuration of every aligner
_WITHOUT = "Or request no word timestamps."


class Qwen3Aligner:
    """The aligner on its device.

    It aligns one text at a time, which takes a single step of the model. So times do not depend on the other
    texts of a batch.
    """

    def __init__(self, folder: Path, placement: Placement) -> None:
        from qwen_asr import Qwen3ForcedAligner
        from qwen_asr.inference.qwen3_forced_aligner import Qwen3ForceAlignProcessor

        model = load_model(folder, placement)
        self._watch = StepWatch(model.thinker)
        # Assembled from parts, because its own `from_pretrained` sets the flag that `load_processor` clears.
        self._aligner: Any = Qwen3ForcedAligner(model, load_processor(folder), Qwen3ForceAlignProcessor())

    def align(
        self, samples: Samples, text: str, language: str, is_stopped: Callable[[], bool]
    ) -> list[AlignedUnit]:
        """Return the words of `text`, without its punctuation, and their times; `language` is an ISO code.

        Raises:
            DecodingStopped: `is_stopped` returned true between two layers.
            OutOfDeviceMemory: the device has too little memory for that much audio.
            ModelUnavailable: the tokenizer that the language needs is not installed.
        """
        import torch

        audio = (pad_samples(samples), SAMPLE_RATE_HZ)
        name = QWEN3_LANGUAGE_NAMES[language]
        try:
            with self._watch.watch(is_stopped):
                (aligned,) = self._aligner.align(audio, text, name)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            message = f"the device has too little memory for word timestamps ({error}); lower WINDOW_S"
        except ImportError as error:
            raise ModelUnavailable(
                f"Word timestamps in {name} need a tokenizer that is not installed here ({error}). {_WITHOUT}"
            ) from error
        else:
            return [AlignedUnit(unit.text, unit.start_time, unit.end_time) for unit in aligned]
        # Only here, outside of the handler, nothing refers to the tensors of the failed call any more.
        torch.cuda.empty_cache()
        raise OutOfDeviceMemory(message)


def choose_aligner(aligner_id: str, model_id: str) -> str:
    """Return the aligner that ALIGNER_ID means: by default the one in the folder MODEL_ID, if it has one."""
    beside = Path(model_id) / _FOLDER
    if aligner_id == DEFAULT_ALIGNER_ID and (beside / CONFIG_NAME).is_file():
        return str(beside)
    return aligner_id


def load_aligner(aligner_id: str, placement: Placement) -> Qwen3Aligner:
    """Find or download the aligner's weights, and load them onto the `placement`.

    Raises:
        ModelUnavailable: the weights are missing, damaged, not an aligner's, or too large for the device.
    """
    import torch

    try:
        folder = find_qwen3_weights(aligner_id, setting="ALIGNER_ID", example=DEFAULT_ALIGNER_ID)
        if not _is_aligner(folder):
            raise _refuse(folder, "it is not an aligner")
        return place_weights(torch, folder, placement, Qwen3Aligner, _refuse)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"Word timestamps: {error} {_WITHOUT}") from error


def _is_aligner(folder: Path) -> bool:
    try:
        return _ALIGNER_FIELD in json.loads((folder / CONFIG_NAME).read_bytes())
    except (OSError, ValueError, TypeError):  # it is damaged
        return False


def _refuse(folder: Path, reason: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The aligner in {folder} cannot be loaded ({reason}). Set ALIGNER_ID to {DEFAULT_ALIGNER_ID}, or to "
        "a folder with all its files. Fetch damaged or missing files again."
    )
