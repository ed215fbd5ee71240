"""A pass over an encoded window of Whisper: tokens become segments with times."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

FRAMES_PER_S = 100
"""The frames of features in a second, the unit of `seek` in faster-whisper's segments."""

_FRAMES_PER_TIMESTAMP = 2

# A rest of a window after its last timestamp is decoded only if it has text or this length. Windows end in
# silence of 0.4 s, and timestamps are rough.
_MIN_REST_FRAMES = 100

# A lone timestamp at the end is often half a second early. Without a pause after it, the rest must be longer.
_MIN_LONE_REST_FRAMES = 200
_TOUCH_FRAMES = 30

# A longer rest is rather speech that Whisper skipped. Continued, it often becomes a copy of the text before.
_MAX_CONTINUED_FRAMES = 600

# Text that compresses better than this repeats itself; the number is OpenAI's.
_MAX_COMPRESSION = 2.4

_Found = tuple[dict[str, Any], "_Answer"]


class EncodedWindow(NamedTuple):
    """The features of a window and their encoding, in faster-whisper's types. `pauses` are frames."""

    features: Any
    encoding: Any
    pauses: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """The number of frames."""
        return self.features.shape[1]  # type: ignore[no-any-return]


class _Answer(NamedTuple):
    """Generated tokens and their quality. A high `compression` means that the text repeats itself."""

    tokens: list[int]
    no_speech_prob: float
    avg_logprob: float
    temperature: float
    compression: float


class Pass:
    """A pass over a window from `frame` on; `next_frame` is where the next one begins, or the window's end.

    Whisper often ends with the time of a last sentence, and leaves the sentence out. The text is then
    continued from that time in the same encoding. Only if that fails, a next pass encodes the rest.
    """

    def __init__(
        self, model: Any, tokenizer: Any, options: Any, *, window: EncodedWindow, frame: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._options = options
        self._start = frame
        self._end = window.frames
        self._pauses = window.pauses
        self.next_frame = frame

    def decode(self, encoding: Any) -> Iterator[Any]:
        """Yield faster-whisper's segments of an encoding that begins at the pass's frame."""
        answer = self._generate(encoding, self._make_prompt(), self._options)
        if self._is_silence(answer):
            self.next_frame = self._end
            return
        found = self._split(answer)
        while self.next_frame < self._end and (more := self._continue(encoding, found)):
            found += more
        if self._options.word_timestamps:
            self._add_words(encoding, [segment for segment, _ in found])
        for segment, answer in found:
            text = self._tokenizer.decode(segment["tokens"])
            if segment["start"] != segment["end"] and text.strip():
                yield _describe(segment, answer, text)

    def _make_prompt(self) -> list[int]:
        prompt = self._options.initial_prompt
        before = self._tokenizer.encode(f" {prompt.strip()}") if prompt and self._start == 0 else []
        return self._model.get_prompt(self._tokenizer, before)  # type: ignore[no-any-return]

    def _generate(self, encoding: Any, prompt: list[int], options: Any) -> _Answer:
        found, avg_logprob, temperature, compression = self._model.generate_with_fallback(
            encoding, prompt, self._tokenizer, options
        )
        return _Answer(found.sequences_ids[0], found.no_speech_prob, avg_logprob, temperature, compression)

    def _is_silence(self, answer: _Answer) -> bool:
        options = self._options
        return bool(
            answer.no_speech_prob > options.no_speech_threshold
            and answer.avg_logprob <= options.log_prob_threshold
        )

    def _continue(self, encoding: Any, earlier: Sequence[_Found]) -> list[_Found]:
        """Return the segments from the next frame on, none if they are not plausible."""
        if self._end - self.next_frame > _MAX_CONTINUED_FRAMES:
            return []
        time = (self.next_frame - self._start) // _FRAMES_PER_TIMESTAMP
        start = self._tokenizer.timestamp_begin + time
        tokens = [token for segment, _ in earlier for token in segment["tokens"]]
        before = [token for token in tokens if token < self._tokenizer.eot]
        prompt = [*self._model.get_prompt(self._tokenizer, before), start]
        options = replace(self._options, temperatures=self._options.temperatures[:1])
        answer = self._generate(encoding, prompt, options)
        is_plausible = (
            answer.avg_logprob > options.log_prob_threshold
            and self._tokenizer.decode(answer.tokens).strip()
            and not repeats_itself(self._tokenizer.decode([*before, *answer.tokens]))
        )
        if not is_plausible:
            return []
        start_s = self.next_frame / FRAMES_PER_S
        found = self._split(answer._replace(tokens=[start, *answer.tokens]))
        # Alone, a segment begins with the encoding, and ends with its last timestamp, which may be its first.
        first, _ = found[0]
        first["start"] = start_s
        if first["tokens"][-1] < self._tokenizer.timestamp_begin:
            first["end"] = self._end / FRAMES_PER_S
        return found

    def _split(self, answer: _Answer) -> list[_Found]:
        """Return the segments of an answer with their times, and find where the next one begins."""
        tokens, length = answer.tokens, self._end - self._start
        segments, text_end, _ = self._model._split_segments_by_timestamps(  # noqa: SLF001 - it has no other
            tokenizer=self._tokenizer,
            tokens=tokens,
            time_offset=self._start / FRAMES_PER_S,
            segment_size=length,
            segment_duration=length / FRAMES_PER_S,
            seek=self._start,
        )
        unfinished = self._tokenizer.decode(tokens[sum(len(segment["tokens"]) for segment in segments) :])
        if text_end >= self._end and tokens and tokens[-1] >= self._tokenizer.timestamp_begin:
            text_end = self._find_rest(round(segments[-1]["end"] * FRAMES_PER_S))
        has_rest = unfinished.strip() or self._end - text_end >= _MIN_REST_FRAMES
        self.next_frame = text_end if text_end > self.next_frame and has_rest else self._end
        return [(segment, answer) for segment in segments]

    def _find_rest(self, text_end: int) -> int:
        """Return the frame after a lone last timestamp where speech may be missing, or the window's end.

        The library takes such a timestamp for the end of all speech. A sentence may still follow.
        """
        heard_until = max(self.next_frame + 1, text_end - _TOUCH_FRAMES)
        pause = next((pause for pause in self._pauses if pause >= heard_until), self._end)
        if self._end - pause >= _MIN_REST_FRAMES:
            return pause
        return text_end if self._end - text_end >= _MIN_LONE_REST_FRAMES else self._end

    def _add_words(self, encoding: Any, segments: list[dict[str, Any]]) -> None:
        # All at once, because words are aligned with the whole encoding.
        self._model.add_word_timestamps(
            [segments],
            self._tokenizer,
            encoding,
            self._end - self._start,
            self._options.prepend_punctuations,
            self._options.append_punctuations,
            last_speech_timestamp=self._start / FRAMES_PER_S,
        )


def _describe(segment: dict[str, Any], answer: _Answer, text: str) -> Any:
    """Return faster-whisper's own description of a segment."""
    from faster_whisper.transcribe import Segment, Word

    return Segment(
        id=0,
        seek=segment["seek"],
        start=segment["start"],
        end=segment["end"],
        text=text,
        tokens=segment["tokens"],
        avg_logprob=answer.avg_logprob,
        compression_ratio=answer.compression,
        no_speech_prob=answer.no_speech_prob,
        words=[Word(**word) for word in segment.get("words", ())] or None,
        temperature=answer.temperature,
    )


def repeats_itself(text: str) -> bool:
    """Return whether a text is a loop, which compresses too well."""
    raw = text.encode()
    return len(raw) > _MAX_COMPRESSION * len(zlib.compress(raw))
