"""The state of one window in generation: its text, the part of it that is final, and its faults.

Published text is never contradicted. So only text that cannot change any more is released, and repairs keep
what was released: a truncated text goes on from there, and a repetition is cut inside the part that was held
back. The text is therefore the same with and without streaming.
"""

import time
from collections.abc import Callable

from shared.transcripts import TokenCounts, sum_counts
from worker.engines.catalog import QWEN3_LANGUAGE_NAMES
from worker.engines.protocol import Row
from worker.engines.qwen3.finish_reason import FinishReason
from worker.engines.qwen3.inputs import END_TOKENS, GenerationOptions, Prompt, take_all
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.text import (
    EchoFinder,
    LanguageTag,
    TokenText,
    clean_context,
    find_first_repeat,
    find_language_tag,
    find_loop,
)

_NO_TAG = LanguageTag(None, 0)


class SequenceState:
    """The decoding of a row, or of a part of its window: a `token_generator.Generation`, and its repairs.

    The final text begins with every value that `released` ever had.
    """

    def __init__(
        self,
        row: Row,
        *,
        decode: Callable[[list[int]], str],
        rules: SequenceRules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        request, hint = row.request, row.request.language_hint
        language = QWEN3_LANGUAGE_NAMES[hint] if hint else None
        context = clean_context(request.context)
        self.window = row.window
        self.faults: list[FinishReason] = []  # the lasting ones, which become warnings
        self.failure = ""
        self.is_accepted = False
        self._avoids_repeats = False
        self._temperature = request.temperature or 0.0
        self._context = context
        self._forced_language = language
        self._rules = rules
        self._clock = clock
        self.is_stopped = row.listener.is_stopped
        self._began_at = float("inf")  # until the first token
        self._output = TokenText(decode)
        self._tag = LanguageTag(language, 0) if language else None
        self._echoes = EchoFinder(context)
        self._finish_reason: FinishReason | None = None
        self._released_to = 0
        self._max_tokens = rules.count_max_tokens(len(row.window.samples))
        self._tokens_left = self._max_tokens
        self._repairs = 0
        self._prompt_counts: list[TokenCounts] = []  # one for each generation, if they are counted
        self._pushed = 0

    @property
    def prompt(self) -> Prompt:
        """The prompt of the next generation."""
        audio = take_all(self.window.samples)
        return Prompt(audio, self._context, self._forced_language, tuple(self._output.tokens))

    @property
    def options(self) -> GenerationOptions:
        """The options of the next generation."""
        return GenerationOptions(self._tokens_left, self._avoids_repeats, self._temperature)

    @property
    def token_counts(self) -> TokenCounts | None:
        """The tokens of all generations, with repairs and text that was cut off; None if not counted."""
        read = sum_counts(self._prompt_counts)
        return read and TokenCounts(read.text_input, read.audio_input, self._pushed)

    @property
    def is_finished(self) -> bool:
        """Whether this generation needs no more tokens for the sequence."""
        return self._finish_reason is not None

    @property
    def language(self) -> str | None:
        """Qwen's name of the language that was forced or found."""
        return self._tag.language if self._tag else None

    @property
    def text(self) -> str:
        """The text so far, without the language tag; empty while the tag may still come."""
        if self._tag is None and not self.is_accepted:
            return ""
        return self._text.strip()

    @property
    def released(self) -> str:
        """The part of the text that is final."""
        end = None if self.is_accepted else self._released_to
        return self._output.text[self._text_start : end].strip()

    @property
    def _text_start(self) -> int:
        return self._tag.text_start if self._tag else 0

    @property
    def _text(self) -> str:
        return self._output.text[self._text_start :]

    def push(self, token: int) -> None:
        """Take the next token of the generation, which is not finished for this sequence."""
        self._began_at = min(self._began_at, self._clock())
        self._pushed += 1
        if token in END_TOKENS:
            self.is_accepted = not self._is_short_echo()
            self._finish_reason = FinishReason.STOP if self.is_accepted else FinishReason.CONTEXT_ECHO
            return
        self._output.push(token)
        self._tokens_left -= 1
        self._tag = self._tag or self._find_tag()
        self._finish_reason = self._find_fault()
        if self._finish_reason is None and self._tag is not None:
            boundary = self._output.find_boundary(self._count_final())
            self._released_to = max(self._released_to, self._text_start, boundary)

    def count_prompt(self, counts: TokenCounts) -> None:
        """Add the tokens of a generation's prompt."""
        self._prompt_counts.append(counts)

    def fail(self, message: str) -> None:
        """Finish the generation without a text."""
        self.failure, self._finish_reason = message, FinishReason.FAILED

    def end_generation(self) -> None:
        """Accept the text after a generation, or prepare the sequence for another one."""
        reason, self._finish_reason = self._finish_reason, None
        match reason:
            case FinishReason.LENGTH:
                self._repair_truncation()
            case FinishReason.REPETITION:
                self._repair_repetition()
            case FinishReason.CONTEXT_ECHO:
                self._repair_echo()
            case _:
                pass
        is_echo = self._echoes.is_in(self.text) or self._echoes.is_all_of(self.text)
        if self.is_accepted and FinishReason.CONTEXT_ECHO in self.faults and is_echo:
            # The same text came without the context: it was spoken.
            self.faults.remove(FinishReason.CONTEXT_ECHO)

    def _find_tag(self) -> LanguageTag | None:
        """Return the tag, or None while it may still come. Qwen's package too takes a text without one."""
        if len(self._output.tokens) < self._rules.max_tag_tokens:
            return find_language_tag(self._output.text)
        return find_language_tag(self._output.text) or _NO_TAG

    def _count_final(self) -> int:
        """Return the number of characters, tag included, that no repair can change any more.

        A loop of long sentences is longer than the hold-back. So text from the first suspicious repeat on is
        not final either.
        """
        repeat = find_first_repeat(self._text, self._rules.loop)
        final = len(self._output.text) - self._rules.hold_back
        return final if repeat is None else min(final, self._text_start + repeat)

    def _is_short_echo(self) -> bool:
        is_unreleased = self._released_to <= self._text_start
        return bool(self._context) and is_unreleased and self._echoes.is_all_of(self._text)

    def _find_fault(self) -> FinishReason | None:
        if self._context and self._tag and self._echoes.is_at_end(self._text):
            return FinishReason.CONTEXT_ECHO
        if find_loop(self._text, self._rules.loop):
            return FinishReason.REPETITION
        return FinishReason.LENGTH if self._tokens_left == 0 else None

    def _repair_truncation(self) -> None:
        """Go on from the text so far with twice as many tokens, or accept it with a warning.

        A generation from the start would contradict what was released, and pay for the text twice. On a slow
        device, repairs would take all of the job's time, and a job that times out has no transcript. A text
        without a tag is rarely one.
        """
        is_late = self._clock() - self._began_at > self._rules.repair_within_s
        if is_late or self._tag == _NO_TAG or self._repairs == self._rules.truncation_repairs:
            self._accept_with(FinishReason.LENGTH)
            return
        self._repairs += 1
        self._tokens_left = self._max_tokens << self._repairs

    def _repair_repetition(self) -> None:
        """Cut the repeats and go on once with a repetition penalty; a second repetition ends the text.

        The penalty harms text that repeats itself for good reason, so no window begins with it.
        """
        self._cut_loop()
        if self._avoids_repeats:
            self.faults.remove(FinishReason.REPETITION)
            self._accept_with(FinishReason.STUCK)
            return
        self._avoids_repeats = True
        self.faults.append(FinishReason.REPETITION)
        self._tokens_left = max(self._tokens_left, self._max_tokens)

    def _repair_echo(self) -> None:
        """Cut back to what was released, and go on without the context."""
        self._output.cut(self._released_to)
        self._context, self._tokens_left = "", self._max_tokens
        if not (self._released_to or self._forced_language):
            self._tag = None  # it was cut as well
        self.faults.append(FinishReason.CONTEXT_ECHO)

    def _cut_loop(self) -> None:
        """Keep one repeat, and as many more as were released."""
        loop = find_loop(self._text, self._rules.loop)
        if loop is None:
            return
        kept = self._text_start + loop.start + loop.period
        if kept < self._released_to:
            kept += -(-(self._released_to - kept) // loop.period) * loop.period
        self._output.cut(kept)

    def _accept_with(self, fault: FinishReason) -> None:
        self.is_accepted = True
        if fault not in self.faults:
            self.faults.append(fault)
