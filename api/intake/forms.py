"""The forms that clients send: their text fields, with the values and combinations that are allowed."""

import json
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.formats.response_format import Granularity, ResponseFormat
from api.intake.numbers import PlainFloat, PlainInt, check_float
from api.outbound.urls import MAX_URL_CHARACTERS
from shared.errors import InvalidRequest
from shared.jobs import Endpoint, Priority

_URL: dict[str, Any] = {"pattern": "^(https?://|$)", "maxLength": MAX_URL_CHARACTERS}

_WORDS_NEED = "Omit it, or send response_format=verbose_json if the engine has word timestamps"

_JOB_FIELDS = frozenset({"priority", "metadata", "webhook_url", "url"})


class Include(StrEnum):
    """Optional parts of an answer."""

    LOGPROBS = "logprobs"  # the log probability of each token


class ServerVad(BaseModel):
    """The parameters of speech detection, with OpenAI's defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["server_vad"] = "server_vad"
    """`server_vad`. The type `auto` has no parameters."""

    threshold: PlainFloat = Field(default=0.5, ge=0, le=1, allow_inf_nan=False, examples=[0.6])
    """The probability from which sound counts as speech. A higher value ignores more noise."""

    prefix_padding_ms: PlainInt = Field(default=300, ge=0, le=2_000, examples=[300])
    """Milliseconds of audio to keep before and after speech, even if they are silent."""

    silence_duration_ms: PlainInt = Field(default=200, ge=50, le=5_000, examples=[500])
    """Milliseconds of silence that separate two speech regions."""


class SpeechForm(BaseModel):
    """The text fields of all endpoints. Every field is optional, and an empty value counts as absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    ignored: ClassVar[frozenset[str]] = frozenset()
    """The fields that this endpoint ignores, as it ignores unknown fields."""

    refused: ClassVar[Mapping[str, frozenset[str]]] = {}
    """The fields that only another endpoint accepts, with the values that are harmless here."""

    model: str = Field(default="", examples=["whisper-1"])
    """A model that this server has, the part of its name after the last `/`, or one of MODEL_ALIASES."""

    language: str = Field(default="auto", examples=["en"])
    """The spoken language: a code (`en`, `en-US`), an English name (`English`), or `auto` to detect it."""

    languages: tuple[str, ...] = Field(default=(), examples=[["en"]])
    """The languages that may be spoken. Of several, the engine detects one of these, for each window anew."""

    prompt: str = Field(default="", examples=["Minutes of the gardening club."])
    """Names and words that may occur, or the preceding text: context for the engine, in free form."""

    keywords: tuple[str, ...] = Field(default=(), examples=[["hellebore", "Ms Okonkwo"]])
    """Names and words that may occur. They are appended to the `prompt`."""

    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False, examples=[0.2])
    """The sampling temperature: 0 always takes the most likely token, values up to 1 vary more and more.
    Absent: the engine's own choice."""

    chunking_strategy: ServerVad | None = Field(default=None, examples=["auto"])
    """The way to cut the audio: `auto`, or `server_vad` with parameters, as JSON or in fields such as
    `chunking_strategy[threshold]`."""

    timestamp_granularities: frozenset[Granularity] = Field(default=frozenset(), examples=[["segment"]])
    """The parts that get timestamps: `word`, `segment`, or both."""

    return_timestamps: bool = Field(default=False, examples=[True])
    """Whether to return the start and end of each word, in seconds."""

    response_format: ResponseFormat = ResponseFormat.JSON
    """`json` or `verbose_json` for an object, `text` for plain text, `srt` or `vtt` for subtitles."""

    audio_track: str = Field(default="", pattern="^([1-9][0-9]{0,2}|[^0-9]*)$", max_length=64, examples=["2"])
    """The sound track of a file with several: its number, from 1, or its language. Absent: the first one with
    the default flag, else the first one, that can be decoded."""

    stream: bool = Field(default=False, examples=[False])
    """Whether to answer with events while the text arrives. Requires `json` or `text`."""

    include: frozenset[Include] = frozenset()
    """`logprobs` is known but refused: no engine here reports token probabilities."""

    priority: Priority = Priority.INTERACTIVE

    metadata: dict[str, Any] | None = Field(default=None, examples=[{"order": 17}])
    """A JSON object of your own. The job returns it with the same values. The limits are 4096 bytes, and 8
    levels of objects and lists."""

    webhook_url: str | None = Field(
        default=None, examples=["https://example.com/transcribed"], json_schema_extra=_URL
    )
    """The `http://` or `https://` address that gets a webhook when the job ends."""

    url: str | None = Field(
        default=None, examples=["https://example.com/meeting.wav"], json_schema_extra=_URL
    )
    """The `http://` or `https://` address of the audio, instead of `file`. Requires URL_INPUT."""

    @classmethod
    def list_names(cls) -> list[str]:
        """Return the names of the fields that this endpoint accepts."""
        return [name for name in cls.model_fields if name not in cls.ignored and name not in cls.refused]

    @property
    def is_streamed(self) -> bool:
        """Return whether the answer is an event stream."""
        return self.stream

    @property
    def spoken_languages(self) -> list[str]:
        """Return the languages that the client names, in its spelling: one, or several that may be spoken."""
        named = [self.language] if self.language != "auto" else list(self.languages)
        return list(dict.fromkeys(name for name in named if name != "auto"))

    @property
    def context(self) -> str | None:
        """Return the text that the engine gets as context."""
        return "\n".join(filter(None, (self.prompt, ", ".join(self.keywords)))) or None

    @property
    def words_field(self) -> str | None:
        """Return the field by which the client requests word timestamps, or None."""
        if self.return_timestamps:
            return "return_timestamps"
        return "timestamp_granularities" if Granularity.WORD in self.timestamp_granularities else None

    def digest(self, endpoint: Endpoint, *, file_sha256: str) -> str:
        """Return a digest that is equal for the same endpoint, fields and file, however they are written."""
        # Without defaults, a field that a later version adds does not change the digest of old requests.
        given = self.model_dump(exclude_defaults=True)
        canonical = json.dumps([endpoint, file_sha256, given], sort_keys=True, default=sorted)
        return sha256(canonical.encode()).hexdigest()

    def check_combination(self) -> None:
        """Raise InvalidRequest if two fields contradict each other."""
        named = {*self.languages, self.language} - {"auto"}
        if self.language != "auto" and self.language not in self.languages and len(named) > 1:
            raise InvalidRequest(
                f"language and languages contradict each other ({', '.join(sorted(named))[:100]}). Send only "
                "one of these fields.",
                param="languages",
            )

    @field_validator("temperature", mode="before")
    @classmethod
    def _check_temperature(cls, given: object) -> object:
        return check_float(given)

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, given: str) -> str:
        # The message omits the address: it may contain a password.
        is_short = len(given) <= MAX_URL_CHARACTERS
        if not (is_short and given.isprintable() and " " not in given and _has_host(given)):
            raise InvalidRequest(
                "webhook_url is not an http:// or https:// address of at most "
                f"{MAX_URL_CHARACTERS} characters.",
                param="webhook_url",
            )
        return given


class TranscriptionForm(SpeechForm):
    """The text fields of a synchronous transcription."""

    ignored = _JOB_FIELDS

    def check_combination(self) -> None:
        """Raise InvalidRequest if two fields contradict each other, or do not fit `response_format`."""
        super().check_combination()
        shape = self.response_format
        # `segment` is in all formats anyway, and some clients send it with each of them.
        if Granularity.WORD in self.timestamp_granularities and shape is not ResponseFormat.VERBOSE_JSON:
            raise _refuse_pair("timestamp_granularities", _WORDS_NEED, shape)
        if self.stream and shape.has_times:
            raise _refuse_pair("stream", "Omit it, or send response_format=json", shape)
        if self.include and shape is not ResponseFormat.JSON:
            raise _refuse_pair("include", "Omit it: no engine here reports token probabilities", shape)
        if self.return_timestamps and shape is ResponseFormat.TEXT:
            raise _refuse_pair("return_timestamps", "Send response_format=json with it", shape)
        if self.return_timestamps and self.stream:
            raise InvalidRequest(
                "stream=true sends no timestamps. Omit return_timestamps, or use "
                "/v1/audio/transcriptions/stream, whose last event has them.",
                param="return_timestamps",
            )


class StreamForm(SpeechForm):
    """The text fields of a streamed transcription."""

    ignored = _JOB_FIELDS
    refused = {
        "response_format": frozenset({"json"}),
        "stream": frozenset({"true", "false"}),
        "include": frozenset(),
    }

    @property
    def is_streamed(self) -> bool:
        """Return whether the answer is an event stream: always."""
        return True


class JobForm(SpeechForm):
    """The text fields of a new job."""

    refused = {"include": frozenset(), "stream": frozenset({"false"})}

    priority: Priority = Priority.BATCH
    """`interactive` is served first, unless the audio is longer than INTERACTIVE_MAX_AUDIO_S."""

    response_format: ResponseFormat = ResponseFormat.JSON
    """The format in which you will fetch the transcript; every other format remains available. With `srt`,
    `vtt` and `verbose_json`, cues get more exact times where the engine has word timestamps."""


def _refuse_pair(name: str, remedy: str, shape: ResponseFormat) -> InvalidRequest:
    return InvalidRequest(f"{name} does not work with response_format {shape!s}. {remedy}.", param=name)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or brackets contain no address
        return False
