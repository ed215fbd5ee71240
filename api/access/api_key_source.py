"""Reading API_KEYS: from the setting itself, or from the file that it names."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from api.access.api_keys import ApiKeys, BadApiKeys, parse_api_keys

_FILE_MARK = "@"


@dataclass(frozen=True, slots=True)
class ReadApiKeys:
    """The keys, and their file if other users of this machine can read it as well."""

    keys: ApiKeys
    exposed_file: Path | None = None


def read_api_keys(setting: str) -> ReadApiKeys:
    """Return the keys of API_KEYS: entries separated by commas, or a file with one entry on each line.

    A setting that begins with `@` or `/` names a file. In the file, `#` begins a comment.

    Raises:
        BadApiKeys: an entry is wrong, or the file cannot be read.
    """
    setting = setting.strip()
    if not setting:
        return ReadApiKeys(ApiKeys())
    if not setting.startswith((_FILE_MARK, "/")):
        entries = (entry.strip() for entry in setting.split(","))
        return ReadApiKeys(parse_api_keys(_number("entry", entries)))
    path = Path(setting.removeprefix(_FILE_MARK))
    lines = (_drop_comment(line) for line in _read_file(path).splitlines())
    keys = parse_api_keys(_number("line", lines, f" of {path}"))
    is_exposed = path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
    return ReadApiKeys(keys, path if is_exposed else None)


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        # The path is not shown: it may be a key that begins with a slash.
        raise BadApiKeys(f"the file that it names cannot be read: {reason}") from None


def _drop_comment(line: str) -> str:
    words = line.split()
    comment = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:comment])


def _number(unit: str, entries: Iterable[str], where: str = "") -> list[tuple[str, str]]:
    numbered = enumerate(entries, start=1)
    return [(f"{unit} {number}{where}", entry) for number, entry in numbered if entry]
