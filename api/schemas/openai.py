"""OpenAI's answers. No other module knows their shapes, except that of errors."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body, DurationS, EndS, StartS
from api.schemas.transcripts import WarningBody, WordBody


class DurationUsage(Body):
    """The usage of a request, as OpenAI counts audio."""

    type: Literal["duration"]
    """Always `duration`."""

    seconds: int = Field(examples=[4])
    """Seconds of audio, rounded up."""


class _Answer(Body):
    """The fields of all answers with a transcript."""

    text: str = Field(examples=["Good morning."])
    """The transcript; empty without speech."""

    duration: DurationS

    usage: DurationUsage
    """The usage of the request."""

    complete: bool = Field(examples=[True])
    """Whether the text has all speech. If not, `warnings` list the times where some may be missing, or the
    job has not succeeded."""

    engine: str = Field(examples=["qwen3"])
    """The engine that transcribed the audio."""

    model: str = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of the engine."""

    warnings: list[WarningBody] | None = None
    """The parts of the transcript that may be wrong; absent if there are none."""


class TranscriptionAnswer(_Answer):
    """The answer of a synchronous transcription."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech; null if it is unknown."""

    timestamps: list[WordBody] | None = None
    """The words with their times; only with `return_timestamps=true`."""


class VerboseSegment(Body):
    """A segment, with Whisper's statistics. Other engines send 0, and no tokens."""

    id: int = Field(examples=[0])
    """The number of the segment, from 0."""

    seek: int = Field(examples=[0])
    """The start of the window that was decoded at once, in hundredths of a second of the audio."""

    start: StartS
    end: EndS

    text: str = Field(examples=[" Good morning."])
    """The text, with a leading space in languages that use spaces. All texts joined are the transcript."""

    tokens: list[int] = Field(examples=[[15216, 6821, 13]])
    """The tokens of the text, in the model's numbers."""

    temperature: float = Field(examples=[0.0])
    """The sampling temperature."""

    avg_logprob: float = Field(examples=[-0.12])
    """The mean log probability of the tokens."""

    compression_ratio: float = Field(examples=[1.1])
    """The ratio by which zlib compresses the text; high for repetitive text."""

    no_speech_prob: float = Field(examples=[0.02])
    """The probability that the segment has no speech."""


class VerboseTranscription(_Answer):
    """The answer of a synchronous transcription with `response_format=verbose_json`."""

    task: Literal["transcribe"]
    """Always `transcribe`."""

    language: str = Field(examples=["english"])
    """English name, in lower case, of the language with the most speech; empty if it is unknown."""

    segments: list[VerboseSegment] | None = None
    """The segments; absent if `timestamp_granularities` is only `word`."""

    words: list[WordBody] | None = None
    """The words without surrounding punctuation; only if `timestamp_granularities` has `word`."""


class TextDelta(Body):
    """New text, to append to what was sent before."""

    type: Literal["transcript.text.delta"]
    """Always `transcript.text.delta`."""

    delta: str = Field(examples=["Good"])
    """The new text."""


class InputTokens(Body):
    """The tokens that the model read, by kind."""

    text_tokens: int = Field(examples=[12])
    """Tokens of the prompt and its template."""

    audio_tokens: int = Field(examples=[42])
    """Tokens of the audio."""


class TokenUsage(Body):
    """The usage of a request in tokens of the model, over all that was decoded for its text."""

    type: Literal["tokens"]
    """Always `tokens`."""

    input_tokens: int = Field(examples=[54])
    """Tokens that the model read."""

    output_tokens: int = Field(examples=[9])
    """Tokens that the model generated, including language tags and end marks."""

    total_tokens: int = Field(examples=[63])
    """The sum of both."""

    input_token_details: InputTokens
    """The parts of `input_tokens`."""


class TextDone(Body):
    """The end of a streamed transcript."""

    type: Literal["transcript.text.done"]
    """Always `transcript.text.done`."""

    text: str = Field(examples=["Good morning."])
    """The whole text: all deltas, joined."""

    usage: TokenUsage | None = None
    """The usage of the request; absent if the engine does not count tokens."""


class ModelBody(Body):
    """A name by which clients can request a model."""

    id: str = Field(examples=["whisper-1"])
    """The name."""

    object: Literal["model"]
    """Always `model`."""

    created: int = Field(examples=[0])
    """Always 0: the server does not know when the model was made."""

    owned_by: str = Field(examples=["Qwen"])
    """The owner in the model's name, or else the engine that runs it."""


class ModelList(Body):
    """All names by which clients can request a model."""

    object: Literal["list"]
    """Always `list`."""

    data: list[ModelBody]
    """The models, then the aliases that stand for any of them."""
