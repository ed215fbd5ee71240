"""The secret that webhooks are signed with where none was set: made once and kept in the data folder."""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from api.access.signing_secrets import PREFIX, BadWebhookSecret, check_secret
from cli.up.errors import CannotStart

SECRET_FILE = "webhook_secret"  # noqa: S105 - the name of the file
SECRET_BYTES = 32


def keep_webhook_secret(folder: Path) -> str:
    """The secret in the prepared data folder, made at the first start; its owner alone can read it.

    Raises:
        CannotStart: the file cannot be read or written, or what is in it is no secret.
    """
    path = folder / SECRET_FILE
    try:
        _make_where_missing(path)
        return check_secret(path.read_text().strip())
    except (OSError, UnicodeDecodeError, BadWebhookSecret) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it holds no webhook secret"
        raise CannotStart(
            f"{path} cannot be used ({reason}): delete it, and a new secret is made, or set WEBHOOK_SECRET."
        ) from None


def _make_where_missing(path: Path) -> None:
    if path.exists():
        return
    # Whole or not at all, whatever happens in the middle.
    new = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    secret = PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{secret}\n")
    new.replace(path)
