"""The forms that clients send: their text fields, and how they are described in /docs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import InvalidRequest


class SpeechForm(BaseModel):
    """The text fields that every way of transcribing takes; all are optional, and empty means absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    model: str = ""
    """The model that is served here, its name behind the last `/`, or `whisper-1`."""

    language: str = "auto"
    """The language spoken: a code (`en`, `en-US`), an English name (`English`), or `auto` to detect it."""

    prompt: str = ""
    """Names and words that may occur, or the text before: context for the engine, in free form."""

    return_timestamps: bool = False
    """Whether to give the start and end of each word, in seconds."""


class TranscriptionForm(SpeechForm):
    """The text fields of a synchronous transcription."""

    response_format: Literal["json", "text"] = "json"
    """`json` for an object, `text` for the bare text."""


class JobForm(SpeechForm):
    """The text fields of a new job."""

    priority: Literal["interactive", "batch"] = "batch"
    """`interactive` is served first, unless the audio is longer than INTERACTIVE_MAX_AUDIO_S."""


Form = TypeVar("Form", bound=SpeechForm)


def parse_form(kind: type[Form], fields: Mapping[str, Sequence[str]]) -> Form:
    """The form of this kind that the text fields make; the last value of a repeated field counts.

    Raises:
        InvalidRequest: a field has a value that it cannot have.
    """
    given = {name: values[-1] for name, values in fields.items() if values[-1].strip()}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InvalidRequest(f"{name} is {given[name][:100]!r}: {first['msg']}.", param=name) from error


def describe_form(kind: type[SpeechForm]) -> dict[str, Any]:
    """What OpenAPI says of a route that takes this form and a file as `multipart/form-data`."""
    schema = kind.model_json_schema()
    file = {
        "type": "string",
        "format": "binary",
        "description": "The audio, or a video with sound: any usual format.",
    }
    form = {
        "type": "object",
        "title": kind.__name__,
        "properties": {"file": file, **schema["properties"]},
        "required": ["file"],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
