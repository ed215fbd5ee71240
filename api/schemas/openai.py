"""OpenAI's answers; the only place that knows their shapes, but for that of errors."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.transcripts import WarningBody, WordBody


class DurationUsage(Body):
    """What the request used, as OpenAI counts audio."""

    type: Literal["duration"] = "duration"
    """Always `duration`."""

    seconds: int = Field(examples=[4])
    """Seconds of audio, rounded up."""


class TranscriptionAnswer(Body):
    """The answer of a synchronous transcription."""

    text: str = Field(examples=["Good morning."])
    """The transcript; empty where nobody speaks."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech; null where none is known."""

    duration: float = Field(examples=[3.2])
    """Seconds of audio."""

    usage: DurationUsage
    """What the request used."""

    complete: bool = Field(examples=[True])
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    engine: str = Field(examples=["qwen3"])
    """The engine that transcribed it."""

    model: str = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model that the engine ran."""

    timestamps: list[WordBody] | None = None
    """The words with their times; only with `return_timestamps=true`."""

    warnings: list[WarningBody] | None = None
    """What may be wrong with the transcript; only if something may."""


class VerboseSegment(Body):
    """A stretch of speech, with what Whisper tells of one; other engines say 0 and no tokens instead."""

    id: int = Field(examples=[0])
    """Its number, from 0."""

    seek: int = Field(examples=[0])
    """Where the stretch begins that was decoded at once, in hundredths of a second of the audio."""

    start: float = Field(examples=[0.48])
    """Seconds from the start of the audio."""

    end: float = Field(examples=[0.92])
    """Seconds from the start of the audio."""

    text: str = Field(examples=[" Good morning."])
    """What is said; begins with a space where the language has them: all of them joined are the text."""

    tokens: list[int] = Field(examples=[[15216, 6821, 13]])
    """The tokens of the text, in the numbers of the model."""

    temperature: float = Field(examples=[0.0])
    """How freely the tokens were chosen."""

    avg_logprob: float = Field(examples=[-0.12])
    """The mean logarithm of how likely they were."""

    compression_ratio: float = Field(examples=[1.1])
    """How many times smaller zlib makes the text; high where it repeats itself."""

    no_speech_prob: float = Field(examples=[0.02])
    """How likely it is that nobody speaks."""


class VerboseTranscription(Body):
    """The answer of a synchronous transcription with `response_format=verbose_json`."""

    task: Literal["transcribe"] = "transcribe"
    """Always `transcribe`."""

    language: str = Field(examples=["english"])
    """English name, in small letters, of the language with the most speech; empty where none is known."""

    duration: float = Field(examples=[3.2])
    """Seconds of audio."""

    text: str = Field(examples=["Good morning."])
    """The transcript; empty where nobody speaks."""

    segments: list[VerboseSegment] | None = None
    """The segments; not sent where `timestamp_granularities` is `word` alone."""

    words: list[WordBody] | None = None
    """The words without the punctuation around them; only if `timestamp_granularities` has `word`."""

    usage: DurationUsage
    """What the request used."""

    complete: bool = Field(examples=[True])
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    engine: str = Field(examples=["qwen3"])
    """The engine that transcribed it."""

    model: str = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model that the engine ran."""

    warnings: list[WarningBody] | None = None
    """What may be wrong with the transcript; only if something may."""


class TextDelta(Body):
    """Text that follows what was sent before."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    """Always `transcript.text.delta`."""

    delta: str = Field(examples=["Good"])
    """What is new."""


class InputTokens(Body):
    """What the model read, by kind."""

    text_tokens: int = Field(examples=[12])
    """Tokens of the prompt and what frames it."""

    audio_tokens: int = Field(examples=[42])
    """Tokens that stand for audio."""


class TokenUsage(Body):
    """What the request used, in tokens of the model, over everything that was decoded for its text."""

    type: Literal["tokens"] = "tokens"
    """Always `tokens`."""

    input_tokens: int = Field(examples=[54])
    """What the model read."""

    output_tokens: int = Field(examples=[9])
    """What the model said, the name of the language and the end of each stretch too."""

    total_tokens: int = Field(examples=[63])
    """Both together."""

    input_token_details: InputTokens
    """How many of `input_tokens` were of which kind."""


class TextDone(Body):
    """The end of a streamed transcript."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    """Always `transcript.text.done`."""

    text: str = Field(examples=["Good morning."])
    """The whole text: all deltas, joined."""

    usage: TokenUsage | None = None
    """What the request used; not sent where the engine does not count tokens."""


class ModelBody(Body):
    """A name by which a model can be asked for."""

    id: str = Field(examples=["whisper-1"])
    """The name."""

    object: Literal["model"] = "model"
    """Always `model`."""

    created: int = Field(examples=[0])
    """When the model was made, in seconds since 1970; 0, as that is not known here."""

    owned_by: str = Field(examples=["Qwen"])
    """Who made the model, as far as its name tells, or else the engine that runs it."""


class ModelList(Body):
    """All names by which models can be asked for."""

    object: Literal["list"] = "list"
    """Always `list`."""

    data: list[ModelBody]
    """The models that are served, then the names that stand for whatever is served."""
