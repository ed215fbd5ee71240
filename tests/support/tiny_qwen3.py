"""The miniature of Qwen3-ASR, and the samples it is right on."""

import csv
from typing import NamedTuple

import numpy as np
import soundfile

from scripts.purposes import REPOSITORY
from worker.engines.protocol import Samples as Audio

TINY = REPOSITORY / "tests" / "data" / "tiny-qwen3-asr"
WINDOW_S = 5.0  # it was trained on short utterances


class Sample(NamedTuple):
    """A line of the manifest."""

    file: str
    language: str
    text: str

    @property
    def code(self) -> str | None:
        """The ISO code of its language."""
        return {"English": "en", "German": "de", "Chinese": "zh"}.get(self.language)

    def read(self) -> Audio:
        """Its samples."""
        samples, _ = soundfile.read(TINY / "samples" / self.file, dtype="float32")
        return np.asarray(samples, np.float32)


def read_manifest() -> dict[str, Sample]:
    """The samples by their names."""
    with (TINY / "samples" / "manifest.tsv").open(encoding="utf-8") as manifest:
        lines = csv.DictReader(manifest, delimiter="\t")
        return {line["file"][:-4]: Sample(line["file"], line["language"], line["text"]) for line in lines}


SAMPLES = read_manifest()
EXACT = sorted(SAMPLES.keys() - {"en_long20"})
SPOKEN = [name for name in EXACT if SAMPLES[name].text]


def read_file(name: str) -> bytes:
    """The file of a sample."""
    return (TINY / "samples" / SAMPLES[name].file).read_bytes()
