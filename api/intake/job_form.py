"""The form of a new job: what a job can be told beyond what every way of transcribing takes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, field_validator

from api.formats.response_format import ResponseFormat
from api.intake.forms import SpeechForm
from api.outbound.urls import MAX_URL_CHARACTERS
from shared.errors import InvalidRequest

MAX_METADATA_BYTES = 4_096
"""How long the JSON of `metadata` may be, in bytes of UTF-8."""

MAX_METADATA_DEPTH = 8
"""How deep objects and lists may lie in each other in `metadata`; the object itself is the first."""

_URL: dict[str, Any] = {"pattern": "^(https?://|$)", "maxLength": MAX_URL_CHARACTERS}

_NO_OBJECT = "it is no JSON object, or has a number that is too large or half of a surrogate pair in it"


class JobForm(SpeechForm):
    """The text fields of a new job."""

    elsewhere: ClassVar[Mapping[str, frozenset[str]]] = {
        "include": frozenset(),
        "stream": frozenset({"false"}),
    }

    priority: Literal["interactive", "batch"] = "batch"
    """`interactive` is served first, unless the audio is longer than INTERACTIVE_MAX_AUDIO_S."""

    response_format: ResponseFormat = ResponseFormat.JSON
    """In which format the transcript will be fetched. Any format can be; but with `srt`, `vtt` and
    `verbose_json` word timestamps are found where the engine has them: cues are timed better by them."""

    metadata: dict[str, Any] | None = Field(default=None, examples=[{"order": 17}])
    """Anything of your own, as a JSON object: it is given back with the job, with the same values. At most
    4096 bytes, with objects and lists at most 8 deep."""

    webhook_url: str | None = Field(
        default=None, examples=["https://example.com/transcribed"], json_schema_extra=_URL
    )
    """Where to be told how the job ended: an `http://` or `https://` address."""

    url: str | None = Field(
        default=None, examples=["https://example.com/meeting.wav"], json_schema_extra=_URL
    )
    """Where the audio is, instead of `file`, where the server allows that: `http://` or `https://`."""

    @property
    def are_times_shown(self) -> bool:
        """Whether the transcript will be fetched with times of segments or cues."""
        return self.response_format.has_times

    @field_validator("metadata", mode="before")
    @classmethod
    def _read_metadata(cls, given: str) -> dict[str, Any]:
        if len(given.encode(errors="replace")) > MAX_METADATA_BYTES:
            raise _refuse_metadata(f"it has more than {MAX_METADATA_BYTES} bytes")
        try:
            read = msgspec.json.decode(given, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise _refuse_metadata(_NO_OBJECT) from error
        if _measure_depth(read) > MAX_METADATA_DEPTH:
            raise _refuse_metadata(f"it is nested more than {MAX_METADATA_DEPTH} deep")
        return read

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, given: str) -> str:
        return _check_url("webhook_url", given)

    @field_validator("url")
    @classmethod
    def _check_source_url(cls, given: str) -> str:
        return _check_url("url", given)


def _measure_depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(_measure_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_measure_depth, value), default=0)
        case _:
            return 0


def _refuse_metadata(fault: str) -> InvalidRequest:
    return InvalidRequest(
        f'metadata cannot be kept, as {fault}: send a small JSON object, such as {{"order": 17}}.',
        param="metadata",
    )


def _check_url(name: str, given: str) -> str:
    # The address itself is not shown: there may be a password in it.
    if len(given) > MAX_URL_CHARACTERS or not given.isprintable() or " " in given or not _has_host(given):
        raise InvalidRequest(
            f"{name} is no http:// or https:// address of at most {MAX_URL_CHARACTERS} characters.",
            param=name,
        )
    return given


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or brackets hold no address
        return False
