"""The settings of `make bench`, and the size of its measurements."""

import csv
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pydantic import NonNegativeInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Subject(StrEnum):
    """The subjects, each measured on new servers, in this order."""

    SYNC = "sync"  # the overhead of a synchronous call, without the engine
    JOBS = "jobs"  # jobs per second through the whole path
    CLIPS = "clips"  # clips beside direct calls of the library
    FILES = "files"  # long files beside the library's plain call: time, memory, first text
    LOOP = "loop"  # the api answers while it works
    LISTENERS = "listeners"  # thousands of listeners on one api process
    REST = "rest"  # memory without work
    COLD = "cold"  # the first job on a cold worker
    QWEN = "qwen"  # the Qwen engine beside Qwen's own package
    ROWS = "rows"  # rows of many jobs share batches
    UPLOAD = "upload"  # one large upload
    RESUME = "resume"  # a long job that resumes often
    CANCEL = "cancel"  # running jobs are cancelled
    LOSS = "loss"  # a worker is killed
    SIZE = "size"  # the Qwen engine at true size; only with SIZE
    GPU = "gpu"  # published models on a GPU; only with `make bench-gpu`


ON_REQUEST = (Subject.SIZE, Subject.GPU)
"""The subjects that are left out of a plain run."""

PLAIN = tuple(subject for subject in Subject if subject not in ON_REQUEST)
COLUMNS = frozenset({"file", "language", "reference"})
"""The columns of `manifest.tsv` in SPEECH_DIR that are read."""


@dataclass(frozen=True)
class Scale:
    """The size of all measurements."""

    rounds: int
    calls: int  # timed calls of a round and client count
    jobs: int  # jobs of a round
    clients: tuple[int, ...]
    clips_s: tuple[float, ...]
    clips_at_once: tuple[int, ...]
    minutes: tuple[float, ...]
    loop_s: float
    upload_bytes: int  # of each upload beside the event loop
    uploads: tuple[int, ...]
    large_upload_bytes: tuple[int, ...]
    listeners: tuple[int, ...]
    events: int
    windows: tuple[int, ...]  # of a batch of the Qwen engine
    rows_at_once: tuple[int, ...]  # clips that share batches
    steady_s: float  # of a stream of clips
    file_beside_clips_s: int
    gpu_windows: tuple[int, ...]  # of a batch in `make bench-gpu`
    resumed_hours: float
    resumes: int
    containers: tuple[str, ...]  # of the recordings that are resumed
    faults: int  # workers killed and jobs cancelled

    @property
    def few_rounds(self) -> int:
        """The rounds of measurements that take long."""
        return (self.rounds + 1) // 2


FULL = Scale(
    rounds=5,
    calls=100,
    jobs=200,
    clients=(1, 4, 16, 64),
    clips_s=(5, 11, 13, 25, 36),
    clips_at_once=(1, 4, 16, 64),
    minutes=(1, 3, 10, 60),
    loop_s=8.0,
    upload_bytes=200_000_000,
    uploads=(1, 4, 10),
    large_upload_bytes=(10_000_000, 100_000_000, 1_000_000_000),
    listeners=(500, 5_000),
    events=6_000,
    windows=(1, 4, 16),
    rows_at_once=(16, 64, 256),
    steady_s=20.0,
    file_beside_clips_s=3_600,
    gpu_windows=(1, 8, 32),
    resumed_hours=10,
    resumes=100,
    containers=("mp3", "m4a", "flac"),
    faults=5,
)
QUICK = Scale(
    rounds=2,
    calls=20,
    jobs=30,
    clients=(1, 4),
    clips_s=(5, 11),
    clips_at_once=(1, 2),
    minutes=(0.2, 0.5),
    loop_s=1.5,
    upload_bytes=10_000_000,
    uploads=(1, 10),
    large_upload_bytes=(10_000_000, 100_000_000),
    listeners=(200, 500),  # more than the warm-up has, so that each takes new memory
    events=200,
    windows=(1, 16),
    rows_at_once=(4, 16),
    steady_s=2.0,
    file_beside_clips_s=600,
    gpu_windows=(1, 8),
    resumed_hours=0.25,
    resumes=3,
    containers=("mp3",),
    faults=1,
)


class BenchSettings(BaseSettings):
    """Settings of `make bench`, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    quick: bool = False
    """Measure each row in a small size, within some minutes. The figures are rough then."""

    only: str = ""
    """Subjects to measure, with commas, such as `sync,clips`; empty: all."""

    size: bool = False
    """Measure the Qwen engine at true size, with random weights, and nothing else."""

    rows: str = "1,4,16"
    """The numbers of windows decoded at once at true size, with commas."""

    gpu: bool = False
    """Measure published models on a GPU, and nothing else. `make bench-gpu` sets it."""

    device: str = "auto"
    """The device of the Qwen engine at true size and in `make bench-gpu`."""

    model_id: str = ""
    """The model of `make bench-gpu`; empty means the default of the server."""

    listeners: NonNegativeInt = 0
    """The number of listeners; 0 means the usual sizes."""

    events: NonNegativeInt = 0
    """The number of events that they receive; 0 means the usual number."""

    results: Path = Path("bench-results")
    """The folder for the JSON file and the plots."""

    report: Path | None = None
    """A file for the report in Markdown. Its plots are written to a folder of the same name beside it."""

    speech_dir: Path | None = None
    """A folder of human speech with reference texts; without it, the synthetic voice of the tests is used.

    Its `manifest.tsv` has a line for each recording, with the columns in COLUMNS.
    """

    @field_validator("only")
    @classmethod
    def _check_only(cls, given: str) -> str:
        names = split_names(given.lower())
        if {*names} & {*ON_REQUEST}:
            raise ValueError("SIZE=true measures `size`, and `make bench-gpu` measures `gpu`")
        if not {*names} <= {*PLAIN}:
            raise ValueError(f"it should name some of {', '.join(PLAIN)}, with commas between them")
        return given.lower()

    @field_validator("rows")
    @classmethod
    def _check_rows(cls, given: str) -> str:
        numbers = split_names(given)
        if not numbers or not all(re.fullmatch("[1-9][0-9]{0,3}", number) for number in numbers):
            raise ValueError("it should have numbers from 1 to 9999, with commas between them")
        return given

    @field_validator("device")
    @classmethod
    def _check_device(cls, given: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", given.lower()):
            raise ValueError("it should be auto, cpu, mps, cuda or cuda:1")
        return given.lower()

    @field_validator("speech_dir")
    @classmethod
    def _check_speech_dir(cls, given: Path | None) -> Path | None:
        if given is not None and COLUMNS - _read_columns(given / "manifest.tsv"):
            raise ValueError("it should have a manifest.tsv with the columns file, language and reference")
        return given

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The subjects to measure."""
        if self.size or self.gpu:
            return (Subject.SIZE if self.size else Subject.GPU,)
        asked = split_names(self.only) or PLAIN
        return tuple(subject for subject in PLAIN if subject in asked)

    @property
    def size_rows(self) -> tuple[int, ...]:
        """The numbers of windows decoded at once at true size."""
        return tuple(map(int, split_names(self.rows)))

    @property
    def scale(self) -> Scale:
        """The size of the measurements."""
        scale = QUICK if self.quick else FULL
        return replace(scale, events=self.events) if self.events else scale

    @property
    def listener_counts(self) -> tuple[int, ...]:
        """The numbers of listeners, smallest first."""
        return (self.listeners,) if self.listeners else self.scale.listeners


def split_names(given: str) -> tuple[str, ...]:
    """Return the names in a list with commas or spaces."""
    return tuple(given.replace(",", " ").split())


def _read_columns(manifest: Path) -> set[str]:
    """Return the names of the columns; none if there is no such file."""
    try:
        with manifest.open(encoding="utf-8", newline="") as lines:
            return {*next(csv.reader(lines, delimiter="\t"), [])}
    except (OSError, UnicodeError):
        return set()
