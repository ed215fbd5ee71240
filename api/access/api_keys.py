"""API keys: the setting API_KEYS, its syntax, and the look-up of the key that a client sends.

API_KEYS has entries between commas, or names a file with one entry on each line. An entry is `NAME=KEY`, or
`KEY` alone, then limits, each after a space: `lab=KEY max_audio_s=600`. KEY is the key itself, or `sha256:`
and the 64 hexadecimal digits of its SHA-256. An entry may have `webhook_secret=whsec_...`, which signs the
webhooks of its jobs. Only digests of keys are kept. Errors name the place of an entry and never its
content, since any part of it may be a key.
"""

import hmac
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import takewhile
from pathlib import Path

from api.access.signing_secrets import BadWebhookSecret, check_secret

MIN_KEY_CHARACTERS = 16

_LIMITS = {
    "max_audio_s": float,
    "max_upload_bytes": int,
    "max_unfinished_jobs": int,
    "max_queued_audio_s": float,
}

_FILE_MARK = "@"
_WEBHOOK_MARK = "webhook_secret="
_DIGEST_MARK = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
# The bearer tokens of RFC 6750.
_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Without a name, a path or a name whose key was left out would pass for a key.
_UNNAMED_KEY = re.compile(r"[A-Za-z0-9_~+-]+")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


class BadApiKeys(ValueError):
    """API_KEYS is wrong. The message gives the place and the reason, and shows no part of an entry."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits of one key, where they are lower than those of the server; None for no limit of its own."""

    max_audio_s: float | None = None
    max_upload_bytes: int | None = None
    max_unfinished_jobs: int | None = None
    max_queued_audio_s: float | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the server knows it. Logs and job records contain its `name`."""

    name: str
    digest: bytes = field(repr=False)
    limits: KeyLimits = KeyLimits()
    webhook_secret: str = field(default="", repr=False)

    @property
    def owner(self) -> str | None:
        """The owner of the jobs that may be seen with the key; None where that is any owner."""
        return None if self is ANYBODY else self.name


ANYBODY = ApiKey("", b"")
"""The key of all requests to a server without API keys."""


class ApiKeys:
    """All keys of the server. A server without keys is open."""

    def __init__(self, keys: Iterable[ApiKey] = (), *, exposed_file: Path | None = None) -> None:
        self._keys = tuple(keys)
        self.exposed_file = exposed_file
        """The file of the keys, if other users of this machine can read or write it."""

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def webhook_secrets(self) -> dict[str, str]:
        """The webhook secrets of the keys that have one, by the name of the key."""
        return {key.name: key.webhook_secret for key in self._keys if key.webhook_secret}

    def find(self, presented: str) -> ApiKey | None:
        """Return the key that a client has sent, or None, in the same time for any key, right or wrong."""
        digest = sha256(presented.encode()).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def find_named(self, name: str) -> ApiKey | None:
        """Return the key of that name, or None."""
        return next((key for key in self._keys if key.name == name), None)


def read_api_keys(setting: str) -> ApiKeys:
    """Return the keys of API_KEYS: entries separated by commas, or a file with one entry on each line.

    A setting that begins with `@` or `/` names a file. In the file, `#` begins a comment.

    Raises:
        BadApiKeys: an entry is wrong, or the file cannot be read.
    """
    setting = setting.strip()
    if not setting:
        return ApiKeys()
    if not setting.startswith((_FILE_MARK, "/")):
        entries = (entry.strip() for entry in setting.split(","))
        return ApiKeys(parse_api_keys(_number("entry", entries)))
    path = Path(setting.removeprefix(_FILE_MARK))
    lines = (_drop_comment(line) for line in _read_file(path).splitlines())
    keys = parse_api_keys(_number("line", lines, f" of {path}"))
    is_exposed = path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
    return ApiKeys(keys, exposed_file=path if is_exposed else None)


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        # The path is not shown: it may be a key that begins with a slash.
        raise BadApiKeys(f"the file that it names cannot be read: {reason}") from None


def _drop_comment(line: str) -> str:
    return " ".join(takewhile(lambda word: not word.startswith("#"), line.split()))


def _number(unit: str, entries: Iterable[str], where: str = "") -> list[tuple[str, str]]:
    numbered = enumerate(entries, start=1)
    return [(f"{unit} {number}{where}", entry) for number, entry in numbered if entry]


def parse_api_keys(entries: Sequence[tuple[str, str]]) -> list[ApiKey]:
    """Return the keys of entries, each given with its place, such as `line 3 of /etc/keys`.

    Raises:
        BadApiKeys: an entry is wrong, two entries have the same name or key, or there is no entry.
    """
    if not entries:
        raise BadApiKeys("it contains no key; leave API_KEYS empty for an open server")
    keys = [_parse_entry(place, entry) for place, entry in entries]
    places = [place for place, _ in entries]
    _refuse_doubles(places, [key.name for key in keys], "name")
    _refuse_doubles(places, [key.digest for key in keys], "key")
    return keys


def _refuse_doubles(places: Sequence[str], values: Sequence[str | bytes], what: str) -> None:
    first: dict[str | bytes, str] = {}
    for place, value in zip(places, values, strict=True):
        if value in first:
            raise BadApiKeys(f"{first[value]} and {place} have the same {what}")
        first[value] = place


def _parse_entry(place: str, entry: str) -> ApiKey:
    words = entry.split()
    if not words:
        raise BadApiKeys(f"{place} is empty")
    name, is_named, secret = words[0].partition("=")
    # A name with nothing or only padding after it is read as a key without a name, and refused as such.
    if not is_named or not secret.strip("="):
        name, secret = "", words[0]
    elif not _NAME.fullmatch(name):
        raise BadApiKeys(f"{place}: a name is up to 40 letters, digits, `-`, `_` and `.`; write NAME=KEY")
    digest = _parse_key(place, secret, is_named=bool(name))
    own_secrets = [word for word in words[1:] if word.startswith(_WEBHOOK_MARK)]
    limits = _parse_limits(place, [word for word in words[1:] if word not in own_secrets])
    return ApiKey(name or digest.hex()[:8], digest, limits, _parse_secret(place, own_secrets))


def _parse_key(place: str, secret: str, *, is_named: bool) -> bytes:
    if secret.startswith(_DIGEST_MARK):
        digits = secret.removeprefix(_DIGEST_MARK)
        if not _DIGEST.fullmatch(digits):
            raise BadApiKeys(f"{place}: sha256: must be followed by 64 hexadecimal digits")
        return bytes.fromhex(digits)
    if not _KEY.fullmatch(secret):
        raise BadApiKeys(f"{place}: a key is letters, digits and any of `-._~+/`, with `=` only at its end")
    if not is_named and not _UNNAMED_KEY.fullmatch(secret):
        raise BadApiKeys(
            f"{place}: write NAME=KEY for a key with any of `./=` in it; if it is a file, put an @ before it"
        )
    if len(secret) < MIN_KEY_CHARACTERS:
        raise BadApiKeys(f"{place}: the key has fewer than {MIN_KEY_CHARACTERS} characters")
    return sha256(secret.encode()).digest()


def _parse_secret(place: str, words: Sequence[str]) -> str:
    if not words:
        return ""
    try:
        [secret] = words
        return check_secret(secret.removeprefix(_WEBHOOK_MARK))
    except BadWebhookSecret as error:
        raise BadApiKeys(f"{place}: {error}") from None
    except ValueError:
        raise BadApiKeys(f"{place}: {_WEBHOOK_MARK} may occur only once") from None


def _parse_limits(place: str, words: Sequence[str]) -> KeyLimits:
    limits: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        kind = _LIMITS.get(name)
        if kind is None or name in limits:
            raise BadApiKeys(
                f"{place}: only limits may follow the key, each once, as in max_audio_s=600; "
                f"there are {', '.join(_LIMITS)}; and webhook_secret"
            )
        if not (_WHOLE_NUMBER if kind is int else _NUMBER).fullmatch(value) or not kind(value):
            raise BadApiKeys(f"{place}: {name} must be a number above 0")
        limits[name] = kind(value)
    return KeyLimits(**limits)  # type: ignore[arg-type]
