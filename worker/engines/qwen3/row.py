"""One window on its way through Qwen3-ASR: what is said so far, what of it is final, and what went wrong."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from shared.transcripts import TokenCounts, sum_counts
from worker.engines.protocol import Samples, Window
from worker.engines.qwen3.text import (
    EchoFinder,
    Head,
    LoopRule,
    TokenText,
    find_first_repeat,
    find_head,
    find_loop,
    token_limit,
)

END_TOKENS = frozenset({151643, 151645})
"""The ids of `<|endoftext|>` and `<|im_end|>`, which `qwen_asr` has fixed as well."""


class RowRules(msgspec.Struct, frozen=True):
    """What a row may do.

    A window may take `least_tokens` and `tokens_per_s` for its audio, or just `max_new_tokens` where that
    is given. `truncation_repairs` is how often one that is not done by then goes on, each time with twice
    as many. `hold_back` is how many characters at the end are not final: more than a loop's longest period
    and least length, and more than the stretch of the context that counts as an echo.
    """

    least_tokens: int = 64
    tokens_per_s: float = 15.0
    max_new_tokens: int | None = None
    truncation_repairs: int = 2
    hold_back: int = 80
    loop: LoopRule = LoopRule()


class Ending(StrEnum):
    """How a generation ended for a row."""

    DONE = "done"  # with the end token
    LIMIT = "limit"  # without, when its tokens were used up
    LOOP = "loop"  # it began to repeat itself
    CUT = "cut"  # it did so once more, and the rest was given up
    ECHO = "echo"  # it began to say the context back


class Prompt(msgspec.Struct, frozen=True):
    """What the model is asked: `language` is Qwen's name of a forced one, `said` what it said already."""

    samples: Samples
    context: str
    language: str | None
    said: tuple[int, ...]


class Row:
    """The decoding of one window. Its final text begins with whatever `released` ever was."""

    def __init__(
        self,
        window: Window,
        *,
        context: str,
        language: str | None,
        decode: Callable[[list[int]], str],
        rules: RowRules,
    ) -> None:
        self.window = window
        self.faults: list[Ending] = []  # those that stay, for the warnings
        self.is_accepted = False
        self.avoids_repeats = False
        self._context = context
        self._forced = language
        self._rules = rules
        self._said = TokenText(decode)
        self._head = Head(language, 0) if language else None
        self._echoes = EchoFinder(context)
        self._ending: Ending | None = None
        self._released_to = 0
        self._limit = rules.max_new_tokens or token_limit(
            len(window.samples), tokens_per_s=rules.tokens_per_s, least=rules.least_tokens
        )
        self.budget = self._limit
        self._repairs = 0
        self._inputs: list[TokenCounts | None] = []  # of the prompt of each generation
        self._pushed = 0

    @property
    def prompt(self) -> Prompt:
        """What the model is asked now."""
        return Prompt(self.window.samples, self._context, self._forced, tuple(self._said.tokens))

    @property
    def token_counts(self) -> TokenCounts | None:
        """What all generations took, repairs and what was cut off again too; None where it is not known."""
        read = sum_counts(self._inputs)
        return read and TokenCounts(read.text_input, read.audio_input, self._pushed)

    @property
    def is_over(self) -> bool:
        """Whether this generation needs no more tokens for this row."""
        return self._ending is not None

    @property
    def language(self) -> str | None:
        """Qwen's name of the language that was forced or found."""
        return self._head.language if self._head else None

    @property
    def text(self) -> str:
        """The text so far, without the head; nothing while that may still be coming."""
        if self._head is None and not self.is_accepted:
            return ""
        return self._said.text[self._text_start :].strip()

    @property
    def released(self) -> str:
        """The part of the text that is final."""
        return (
            self.text if self.is_accepted else self._said.text[self._text_start : self._released_to].strip()
        )

    @property
    def _text_start(self) -> int:
        return self._head.text_start if self._head else 0

    def push(self, token: int) -> None:
        """Take the next token of the generation, which is not over for this row."""
        self._pushed += 1
        if token in END_TOKENS:
            self.is_accepted = not self._is_short_echo()
            self._ending = Ending.DONE if self.is_accepted else Ending.ECHO
            return
        self._said.push(token)
        self.budget -= 1
        self._head = self._head or find_head(self._said.text)
        self._ending = self._find_fault()
        if self._ending is None and self._head is not None:
            seam = self._said.seam_before(self._count_final())
            self._released_to = max(self._released_to, self._text_start, seam)

    def note_input(self, counts: TokenCounts | None) -> None:
        """Count what a generation read; None where that is not known."""
        self._inputs.append(counts)

    def settle(self) -> None:
        """After a generation: accept the row as it is, or prepare it for going on."""
        ending, self._ending = self._ending, None
        match ending:
            case Ending.LIMIT:
                self._repair_truncation()
            case Ending.LOOP:
                self._repair_loop()
            case Ending.ECHO:
                self._said.cut(self._released_to)
                self._context, self.budget = "", self._limit
                self._head = Head(self._forced, 0) if self._forced else find_head(self._said.text)
                self.faults.append(Ending.ECHO)
            case _:
                pass
        is_echo = self._echoes.is_in(self.text) or self._echoes.is_all_of(self.text)
        if self.is_accepted and Ending.ECHO in self.faults and is_echo:
            self.faults.remove(Ending.ECHO)  # said again without the context: it was spoken

    def _count_final(self) -> int:
        """How many characters, with the head, cannot change any more, as far as can be told."""
        repeat = find_first_repeat(self._said.text[self._text_start :], self._rules.loop)
        final = len(self._said.text) - self._rules.hold_back
        return final if repeat is None else min(final, self._text_start + repeat)

    def _is_short_echo(self) -> bool:
        is_untold = self._released_to <= self._text_start
        return (
            bool(self._context) and is_untold and self._echoes.is_all_of(self._said.text[self._text_start :])
        )

    def _find_fault(self) -> Ending | None:
        text = self._said.text[self._text_start :]
        if self._context and self._head and self._echoes.is_at_end(text):
            return Ending.ECHO
        if find_loop(text, self._rules.loop):
            return Ending.LOOP
        return Ending.LIMIT if self.budget == 0 else None

    def _repair_truncation(self) -> None:
        if self._repairs == self._rules.truncation_repairs:
            self._accept_with(Ending.LIMIT)
            return
        self._repairs += 1
        self.budget = self._limit << self._repairs

    def _repair_loop(self) -> None:
        self._cut_loop()
        if self.avoids_repeats:
            self.faults.remove(Ending.LOOP)
            self._accept_with(Ending.CUT)
            return
        self.avoids_repeats = True
        self.faults.append(Ending.LOOP)
        self.budget = max(self.budget, self._limit)

    def _cut_loop(self) -> None:
        """Keep one repeat, and what more was released."""
        loop = find_loop(self._said.text[self._text_start :], self._rules.loop)
        if loop is None:
            return
        kept = self._text_start + loop.start + loop.period
        if kept < self._released_to:
            kept += -(-(self._released_to - kept) // loop.period) * loop.period
        self._said.cut(kept)

    def _accept_with(self, fault: Ending) -> None:
        self.is_accepted = True
        if fault not in self.faults:
            self.faults.append(fault)
