"""The setting CORS_ORIGINS: which web pages may call the server."""

import re

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,*?#@A-Z]+")


def parse_origins(setting: str) -> tuple[str, ...]:
    """The origins between the commas of CORS_ORIGINS, or `*` alone.

    Raises:
        ValueError: one of them is none.
    """
    origins = tuple(origin for part in setting.split(",") if (origin := part.strip()))
    wrong = next((origin for origin in origins if not _ORIGIN.fullmatch(origin)), None)
    if wrong is not None and origins != ("*",):
        raise ValueError(
            f"{wrong!r} is no origin; write `*` alone, or each as in https://app.example.com, with the port "
            "if there is one, in lower case, and without a path or a slash at its end"
        )
    return origins
