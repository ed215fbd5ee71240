"""OpenAI's answers; the only place that knows their shapes, but for that of errors."""

from typing import Literal

from api.schemas.base import Body
from api.schemas.transcripts import WarningBody, WordBody


class DurationUsage(Body):
    """What the request used, as OpenAI counts audio."""

    type: Literal["duration"] = "duration"
    """Always `duration`."""

    seconds: int
    """Seconds of audio, rounded up."""


class TranscriptionAnswer(Body):
    """The answer of a synchronous transcription."""

    text: str
    """The transcript; empty where nobody speaks."""

    language: str | None
    """ISO code of the language with the most speech; null where none is known."""

    duration: float
    """Seconds of audio."""

    usage: DurationUsage
    """What the request used."""

    complete: bool
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    engine: str
    """The engine that transcribed it."""

    model: str
    """The model that the engine ran."""

    timestamps: list[WordBody] | None = None
    """The words with their times; only with `return_timestamps=true`."""

    warnings: list[WarningBody] | None = None
    """What may be wrong with the transcript; only if something may."""


class VerboseSegment(Body):
    """A stretch of speech, with what Whisper tells of one; other engines say 0 and no tokens instead."""

    id: int
    """Its number, from 0."""

    seek: int
    """Where the stretch begins that was decoded at once, in hundredths of a second of the audio."""

    start: float
    """Seconds from the start of the audio."""

    end: float
    """Seconds from the start of the audio."""

    text: str
    """What is said; begins with a space where the language has them: all of them joined are the text."""

    tokens: list[int]
    """The tokens of the text, in the numbers of the model."""

    temperature: float
    """How freely the tokens were chosen."""

    avg_logprob: float
    """The mean logarithm of how likely they were."""

    compression_ratio: float
    """How many times smaller zlib makes the text; high where it repeats itself."""

    no_speech_prob: float
    """How likely it is that nobody speaks."""


class VerboseTranscription(Body):
    """The answer of a synchronous transcription with `response_format=verbose_json`."""

    task: Literal["transcribe"] = "transcribe"
    """Always `transcribe`."""

    language: str
    """English name, in small letters, of the language with the most speech; empty where none is known."""

    duration: float
    """Seconds of audio."""

    text: str
    """The transcript; empty where nobody speaks."""

    segments: list[VerboseSegment] | None = None
    """The segments; not sent where `timestamp_granularities` is `word` alone."""

    words: list[WordBody] | None = None
    """The words without the punctuation around them; only if `timestamp_granularities` has `word`."""

    usage: DurationUsage
    """What the request used."""

    complete: bool
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    engine: str
    """The engine that transcribed it."""

    model: str
    """The model that the engine ran."""

    warnings: list[WarningBody] | None = None
    """What may be wrong with the transcript; only if something may."""


class TextDelta(Body):
    """Text that follows what was sent before."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    """Always `transcript.text.delta`."""

    delta: str
    """What is new."""


class InputTokens(Body):
    """What the model read, by kind."""

    text_tokens: int
    """Tokens of the prompt and what frames it."""

    audio_tokens: int
    """Tokens that stand for audio."""


class TokenUsage(Body):
    """What the request used, in tokens of the model, over everything that was decoded for its text."""

    type: Literal["tokens"] = "tokens"
    """Always `tokens`."""

    input_tokens: int
    """What the model read."""

    output_tokens: int
    """What the model said, the name of the language and the end of each stretch too."""

    total_tokens: int
    """Both together."""

    input_token_details: InputTokens
    """What the model read, by kind."""


class TextDone(Body):
    """The end of a streamed transcript."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    """Always `transcript.text.done`."""

    text: str
    """The whole text: all deltas, joined."""

    usage: TokenUsage | None = None
    """What the request used; not sent where the engine does not count tokens."""


class ModelBody(Body):
    """A name by which a model can be asked for."""

    id: str
    """The name."""

    object: Literal["model"] = "model"
    """Always `model`."""

    created: int
    """When the model was made, in seconds since 1970; 0, as that is not known here."""

    owned_by: str
    """Who made the model, as far as its name tells, or else the engine that runs it."""


class ModelList(Body):
    """All names by which models can be asked for."""

    object: Literal["list"] = "list"
    """Always `list`."""

    data: list[ModelBody]
    """The models that are served, then the names that stand for whatever is served."""
