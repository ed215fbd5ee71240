"""The forms that clients send: their text fields, and which values and combinations there are."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors.tree import UnsupportedValue
from api.formats.response_format import Granularity, ResponseFormat
from api.intake.chunking import FIELD as CHUNKING_STRATEGY
from api.intake.chunking import ServerVad, read_strategy
from api.intake.form_description import describe_multipart
from api.intake.form_fields import FieldReader
from shared.errors import InvalidRequest


class Include(StrEnum):
    """What an answer may say besides."""

    LOGPROBS = "logprobs"  # how likely each token was


class SpeechForm(BaseModel):
    """The text fields that every way of transcribing takes; all are optional, and empty means absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    elsewhere: ClassVar[Mapping[str, frozenset[str]]] = {
        "response_format": frozenset({"json"}),
        "stream": frozenset({"true", "false"}),
        "include": frozenset(),
    }
    """The fields that only `POST /v1/audio/transcriptions` takes, and their values that do no harm here."""

    model: str = Field(default="", examples=["whisper-1"])
    """The model that is served here, its name behind the last `/`, or one of MODEL_ALIASES."""

    language: str = Field(default="auto", examples=["en"])
    """The language spoken: a code (`en`, `en-US`), an English name (`English`), or `auto` to detect it."""

    languages: tuple[str, ...] = Field(default=(), examples=[["en"]])
    """The language spoken, for clients that send a list: as `language`, and not more than one."""

    prompt: str = Field(default="", examples=["Minutes of the gardening club."])
    """Names and words that may occur, or the text before: context for the engine, in free form."""

    keywords: tuple[str, ...] = Field(default=(), examples=[["hellebore", "Ms Okonkwo"]])
    """Names and words that may occur: they are put behind the `prompt`."""

    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False, examples=[0.2])
    """How freely the engine chooses its words: 0 takes the likeliest, up to 1 draws lots more and more.
    Absent: as the engine does by itself."""

    chunking_strategy: ServerVad | None = Field(default=None, examples=["auto"])
    """How the audio is cut: `auto`, as the server does by itself, or `server_vad` with numbers, as JSON or
    in fields such as `chunking_strategy[threshold]`."""

    timestamp_granularities: frozenset[Granularity] = Field(default=frozenset(), examples=[["segment"]])
    """What gets times: `word`, `segment`, or both."""

    return_timestamps: bool = Field(default=False, examples=[True])
    """Whether to give the start and end of each word, in seconds."""

    @property
    def spoken_language(self) -> str:
        """The language that the client names, in its spelling."""
        return next((name for name in self.languages if name != "auto"), self.language)

    @property
    def context(self) -> str | None:
        """What the engine is told beforehand."""
        return "\n".join(filter(None, (self.prompt, ", ".join(self.keywords)))) or None

    @property
    def words_field(self) -> str | None:
        """The field by which the client asks for word timestamps; None where it does not."""
        if self.return_timestamps:
            return "return_timestamps"
        return "timestamp_granularities" if Granularity.WORD in self.timestamp_granularities else None

    @property
    def are_times_shown(self) -> bool:
        """Whether an answer is sure to show times of segments or cues."""
        return False

    def check_combination(self) -> None:
        """Check that the fields go together.

        Raises:
            InvalidRequest: they contradict each other.
        """
        named = {*self.languages, self.language} - {"auto"}
        if len(named) > 1:
            raise InvalidRequest(
                f"languages has more than one language ({', '.join(sorted(named))[:100]}): send the one that "
                "is spoken, or none to have it detected.",
                param="languages",
            )


class TranscriptionForm(SpeechForm):
    """The text fields of a synchronous transcription."""

    elsewhere: ClassVar[Mapping[str, frozenset[str]]] = {}

    response_format: ResponseFormat = ResponseFormat.JSON
    """`json` or `verbose_json` for an object, `text` for the bare text, `srt` or `vtt` for subtitles."""

    stream: bool = Field(default=False, examples=[False])
    """Whether to answer with events while the text comes; with `json` or `text` only."""

    include: frozenset[Include] = frozenset()
    """`logprobs`, how likely each token was, is known and refused: no engine tells."""

    @property
    def are_times_shown(self) -> bool:
        """Whether an answer is sure to show times of segments or cues."""
        return self.response_format.has_times

    def check_combination(self) -> None:
        """Check that the answer which is asked for has room for all that is asked for.

        Raises:
            InvalidRequest: it has not.
        """
        super().check_combination()
        shape = self.response_format
        # `segment` is what all formats have anyway, and some clients send it with each of them.
        if Granularity.WORD in self.timestamp_granularities and shape is not ResponseFormat.VERBOSE_JSON:
            raise _refuse_pair("timestamp_granularities", "send response_format=verbose_json with it", shape)
        if self.stream and shape.has_times:
            raise _refuse_pair("stream", "leave it out, or send response_format=json", shape)
        if self.include and shape is not ResponseFormat.JSON:
            raise _refuse_pair("include", "send response_format=json with it", shape)
        if self.return_timestamps and shape is ResponseFormat.TEXT:
            raise _refuse_pair("return_timestamps", "send response_format=json with it", shape)
        if self.return_timestamps and self.stream:
            raise InvalidRequest(
                "With stream=true no times are sent: leave return_timestamps out, or stream from "
                "/v1/audio/transcriptions/stream, which has them in its last event.",
                param="return_timestamps",
            )


Form = TypeVar("Form", bound=SpeechForm)

_NO_SPEAKERS = "Speakers are not told apart here"
UNSERVED_FIELDS = ("known_speaker_names", "known_speaker_references")
"""Fields that OpenAI knows, and that are refused by every endpoint."""


def list_fields(kind: type[SpeechForm]) -> frozenset[str]:
    """The fields of this kind of form that take more than one value."""
    return frozenset(
        name
        for name, field in kind.model_fields.items()
        if get_origin(field.annotation) in (tuple, frozenset)
    )


def parse_form(kind: type[Form], fields: Mapping[str, Sequence[str]]) -> Form:
    """The form of this kind that the text fields make; the last value of a repeated field counts.

    Raises:
        InvalidRequest: a field has a value that it cannot have, or not together with another.
    """
    reader = FieldReader(fields)
    _refuse_unserved(kind, reader)
    given = reader.read_known(kind.model_fields, list_fields(kind))
    given[CHUNKING_STRATEGY] = read_strategy(
        reader.read_text(CHUNKING_STRATEGY), reader.read_nested(CHUNKING_STRATEGY)
    )
    try:
        form = kind.model_validate(given)
    except ValidationError as error:
        raise _name_fault(error) from error
    form.check_combination()
    return form


def describe_form(kind: type[SpeechForm]) -> dict[str, Any]:
    """What OpenAPI says of a route that takes this form and a file as `multipart/form-data`."""
    return describe_multipart(kind.model_json_schema(), list_fields(kind))


def _refuse_unserved(kind: type[SpeechForm], reader: FieldReader) -> None:
    for name in UNSERVED_FIELDS:
        if reader.read_list(name):
            raise InvalidRequest(f"{_NO_SPEAKERS}: leave {name} out.", param=name)
    if reader.read_text("response_format") == "diarized_json":
        raise UnsupportedValue(
            f"{_NO_SPEAKERS}, so there is no response_format 'diarized_json': send 'verbose_json' instead.",
            param="response_format",
        )
    for name, harmless in kind.elsewhere.items():
        if set(reader.read_list(name)) - harmless:
            raise InvalidRequest(
                f"Only POST /v1/audio/transcriptions takes {name}: leave it out here.", param=name
            )


def _refuse_pair(name: str, remedy: str, shape: ResponseFormat) -> InvalidRequest:
    return InvalidRequest(f"{name} cannot be served with response_format {shape!s}: {remedy}.", param=name)


def _name_fault(error: ValidationError) -> InvalidRequest:
    first = error.errors()[0]
    name, *inner = (str(part) for part in first["loc"])
    shown = "".join(f"[{part}]" for part in inner if not part.isdigit())
    meaning = first["msg"].replace("Input should be", "it should be")
    return InvalidRequest(f"{name}{shown} is {str(first['input'])[:100]!r}: {meaning}.", param=name)
