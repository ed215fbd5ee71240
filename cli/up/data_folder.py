"""The data folder: private, locked against a second server, and the place of the webhook secret."""

import base64
import contextlib
import fcntl
import os
import secrets
import tempfile
import time
from pathlib import Path

import psutil

from api.access.signing_secrets import PREFIX, BadWebhookSecret, check_secret
from cli.up.descendants import is_alive
from cli.up.errors import CannotStart

LEFTOVERS_END_WITHIN_S = 10.0
WEBHOOK_SECRET_FILE = "webhook_secret"  # noqa: S105 - the name of a file
WEBHOOK_SECRET_BYTES = 32


def open_data_folder(folder: Path) -> int:
    """Create `folder` with its subfolders, lock it, and return the descriptor that holds the lock.

    New folders are readable only by their owner. An existing folder keeps its permissions, since it may have
    other uses. The lock lasts until every process that inherited the descriptor has ended. Redis inherits it.
    So a Redis that is left by a killed server blocks the next start, which waits for it here.

    Raises:
        CannotStart: the folder cannot be created, written to or locked, or another server holds its lock.
    """
    try:
        for path in (folder, folder / "redis", folder / "logs"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _wait_for_lock(lock, folder)
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as problem:
        raise CannotStart(
            f"DATA_DIR={folder} cannot be used ({problem.strerror}). Choose another folder with DATA_DIR."
        ) from problem
    return lock


def keep_webhook_secret(folder: Path) -> str:
    """Return the webhook secret in `folder`, which exists; create it if missing, readable only by its owner.

    Raises:
        CannotStart: the file cannot be read or written, or does not hold a webhook secret.
    """
    path = folder / WEBHOOK_SECRET_FILE
    try:
        if not path.exists():
            _write_secret(path)
        return check_secret(path.read_text().strip())
    except (OSError, UnicodeDecodeError, BadWebhookSecret) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it does not hold a webhook secret"
        raise CannotStart(
            f"{path} cannot be used ({reason}). Delete it to get a new secret, or set WEBHOOK_SECRET."
        ) from None


def _write_secret(path: Path) -> None:
    # The file appears complete or not at all, even if this process is killed.
    new = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    secret = PREFIX + base64.b64encode(secrets.token_bytes(WEBHOOK_SECRET_BYTES)).decode()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{secret}\n")
    new.replace(path)


def _wait_for_lock(lock: int, folder: Path) -> None:
    give_up = time.monotonic() + LEFTOVERS_END_WITHIN_S
    while not _take_lock(lock):
        holder = _read_holder(lock)
        if holder is None or _is_alive(holder) or time.monotonic() > give_up:
            raise CannotStart(_describe_holder(folder, holder))
        time.sleep(0.05)


def _take_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(lock: int) -> int | None:
    written = os.pread(lock, 32, 0).strip()
    return int(written) if written.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _describe_holder(folder: Path, holder: int | None) -> str:
    if holder is not None and not _is_alive(holder):
        return (
            f"DATA_DIR={folder} is still in use by parts of a killed server (process {holder}). "
            "End its redis-server or valkey-server, or choose another folder with DATA_DIR."
        )
    process = "" if holder is None else f" (process {holder})"
    return (
        f"DATA_DIR={folder} is in use by another server{process}. "
        "Stop that server, or choose another folder with DATA_DIR."
    )
