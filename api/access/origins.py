"""The setting CORS_ORIGINS: the origins of web pages that may call the server."""

import re

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*?#@A-Z]+")


def parse_origins(setting: str) -> tuple[str, ...]:
    """Return the origins between the commas of CORS_ORIGINS, or `*` alone.

    Raises:
        ValueError: a part is not an origin.
    """
    origins = tuple(origin for part in setting.split(",") if (origin := part.strip()))
    wrong = next((origin for origin in origins if not _ORIGIN.fullmatch(origin)), None)
    if wrong is not None and origins != ("*",):
        raise ValueError(
            f"{wrong!r} is not an origin. Write `*` alone, or origins such as https://app.example.com:8443, "
            "in lower case and without a path or a slash at the end"
        )
    return origins
