"""How long a client would like to wait for a job: the preference `wait` of RFC 7240."""

import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Header, Request

from api.dependencies import ServicesDep

_MEANING = (
    "With `wait=N` the answer comes when the job is done, or after N seconds (PREFER_WAIT_MAX_S at the most) "
    "if it is not; `Preference-Applied` says which N it was."
)

# Elements of a list, where commas in quotes do not count.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:(\d{1,9})|"(\d{1,9})")\s*(?:;.*)?', re.IGNORECASE)


def parse_wait(values: Iterable[str]) -> int | None:
    """The seconds that the first `wait` of the `Prefer` headers asks for; what makes no sense is ignored."""
    for preference in _PREFERENCE.findall(",".join(values)):
        if matched := _WAIT.fullmatch(preference):
            return int(matched[1] or matched[2])
    return None


async def _read_wait(
    request: Request,
    services: ServicesDep,
    _prefer: Annotated[str | None, Header(alias="Prefer", description=_MEANING, examples=["wait=30"])] = None,
) -> int | None:
    """The seconds to wait, or None where the client does not say."""
    asked_s = parse_wait(request.headers.getlist("prefer"))
    return None if asked_s is None else min(asked_s, services.settings.prefer_wait_max_s)


PreferredWait = Annotated[int | None, Depends(_read_wait)]
