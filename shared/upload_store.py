"""Uploads on disk: written once as they arrive, and visible only when complete.

The samples of a short upload lie beside it, as `shared.media.stored_samples` describes.
"""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from shared.errors import StorageFull

_PART_SUFFIX = ".part"
_SAMPLES_SUFFIX = ".pcm"


class UploadStore:
    """The folder of uploads. The `name` of an upload is the id of its job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Create the folder, readable only by its owner."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path_of(self, name: str) -> Path:
        """Return the path of the upload `name`, whether or not it exists."""
        return self._folder / name

    def path_of_samples(self, name: str) -> Path:
        """Return the path of the stored samples of `name`, whether or not they exist."""
        return self._folder / f"{name}{_SAMPLES_SUFFIX}"

    def begin(self, name: str) -> "UploadWriter":
        """Start writing the upload `name`.

        Raises:
            StorageFull: the disk has no room for another file.
        """
        with _storage_errors():
            return UploadWriter(self._folder / name)

    def delete(self, name: str) -> None:
        """Remove an upload and its samples, if they exist."""
        self.delete_samples(name)
        self.path_of(name).unlink(missing_ok=True)

    def delete_samples(self, name: str) -> None:
        """Remove the stored samples of an upload, if they exist."""
        self.path_of_samples(name).unlink(missing_ok=True)

    def list_older_than(self, age_s: float) -> set[str]:
        """Return the names of complete uploads, and of stored samples, older than `age_s` seconds."""
        found = (path for path in self._find_older_than(age_s) if path.suffix != _PART_SUFFIX)
        return {path.name.removesuffix(_SAMPLES_SUFFIX) for path in found}

    def list_unfinished(self, age_s: float) -> set[str]:
        """Return the names of uploads without a write for `age_s` seconds: their api process was killed."""
        return {path.name for path in self._find_older_than(age_s) if path.suffix == _PART_SUFFIX}

    def _find_older_than(self, age_s: float) -> Iterator[Path]:
        limit = time.time() - age_s
        # A worker may look before the first api has created the folder.
        for path in self._folder.iterdir() if self._folder.exists() else ():
            # Other processes finish and delete files meanwhile.
            with suppress(FileNotFoundError):
                status = path.stat()
                if S_ISREG(status.st_mode) and status.st_mtime <= limit:
                    yield path


class UploadWriter:
    """An upload that is being written. `commit` makes it visible; `abort` removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + _PART_SUFFIX)
        self._digest = hashlib.sha256()
        self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.size_bytes = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk.

        Raises:
            StorageFull: the disk is full. The caller must abort.
        """
        unwritten = memoryview(chunk)
        while unwritten:
            with _storage_errors():
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def path(self) -> Path:
        """Return the path of the file before its commit."""
        return self._part

    @property
    def sha256(self) -> str:
        """Return the digest of the bytes written so far."""
        return self._digest.hexdigest()

    def commit(self) -> None:
        """Make the upload durable and visible under its name.

        Raises:
            StorageFull: the disk is full. The caller must abort.
        """
        with _storage_errors():
            os.fsync(self._descriptor)
            self._part.replace(self._path)
            _sync_folder(self._path.parent)
        self._close()

    def abort(self) -> None:
        """Remove the written bytes. Do nothing after a commit."""
        self._close()
        self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; `fsync` of a file only covers its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull from error
        raise
