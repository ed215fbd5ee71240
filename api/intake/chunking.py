"""The field `chunking_strategy`: how a client says where speech is to be told from silence."""

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import InvalidRequest

FIELD = "chunking_strategy"

_TYPES = ("auto", "server_vad")


class ServerVad(BaseModel):
    """Numbers for finding speech; what is left out has the value that it has at OpenAI."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["server_vad"] = "server_vad"
    """`server_vad`; with `auto` there are no numbers."""

    threshold: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False, examples=[0.6])
    """The probability from which on a sound counts as speech; a higher one leaves more noise out."""

    prefix_padding_ms: int = Field(default=300, ge=0, le=2_000, examples=[300])
    """Milliseconds of audio kept before speech, and behind it, even if they are silent."""

    silence_duration_ms: int = Field(default=200, ge=50, le=5_000, examples=[500])
    """Milliseconds of silence at which one stretch of speech is told from the next."""


def read_strategy(text: str, numbers: Mapping[str, str]) -> Mapping[str, object] | None:
    """What `ServerVad` is made from; None where the server is to choose, as with `auto`.

    `text` is the value of the field itself, a word or a JSON object, and `numbers` are the fields
    `chunking_strategy[...]` by what stands in brackets. Either may be empty.

    Raises:
        InvalidRequest: it is neither `auto` nor `server_vad`, or `auto` with numbers.
    """
    strategy = {**_read_text(text), **numbers}
    kind = strategy.get("type", "server_vad" if strategy else "auto")
    if kind not in _TYPES:
        raise InvalidRequest(
            f"{FIELD} is {str(kind)[:100]!r}: send `auto`, or `server_vad` with the numbers it takes.",
            param=FIELD,
        )
    if kind == "server_vad":
        return {"type": kind, **strategy}
    if set(strategy) - {"type"}:
        raise InvalidRequest(
            f"{FIELD} is `auto`, which takes no numbers: leave them out, or send `server_vad`.", param=FIELD
        )
    return None


def _read_text(text: str) -> Mapping[str, object]:
    if not text.startswith("{"):
        return {"type": text.strip('"')} if text else {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f'{FIELD} is no JSON object: send one such as {{"type": "server_vad", "threshold": 0.5}}, or '
            f"the fields {FIELD}[type], {FIELD}[threshold] and so on.",
            param=FIELD,
        ) from error
    for name, value in read.items():
        if name != "type" and isinstance(value, bool | str):
            raise InvalidRequest(f"{FIELD}[{name}] is {json.dumps(value)[:100]}: send a number.", param=FIELD)
    return dict(read)
