"""The model as a generator of tokens, on torch or on vLLM, and the generations that it continues."""

from collections.abc import Sequence
from typing import Protocol

from shared.transcripts import TokenCounts
from worker.engines.qwen3.inputs import GenerationOptions, Prompt


class OutOfDeviceMemory(Exception):
    """Raised by a generator if the device has too little memory for so many generations."""


class Generation(Protocol):
    """A prompt that the model continues, token by token, until this object is finished."""

    @property
    def prompt(self) -> Prompt:
        """The prompt. It is read once, when the generation starts."""

    @property
    def options(self) -> GenerationOptions:
        """The options. A generation is finished after `max_new_tokens` at the latest."""

    @property
    def is_finished(self) -> bool:
        """Whether no more tokens are needed."""

    def is_stopped(self) -> bool:
        """Return whether the text is no longer wanted. A generator asks it during long work."""

    def push(self, token: int) -> None:
        """Take the next token. The generation is not finished."""

    def count_prompt(self, counts: TokenCounts) -> None:
        """Take the numbers of text and audio tokens of the prompt. Some generators do not count them."""

    def fail(self, message: str) -> None:
        """Take the reason for which the generator cannot go on. It makes the generation finished."""


class TokenGenerator(Protocol):
    """The model, as far as it concerns decoding, with the generations that are open.

    open: from `start` until it is finished, dropped, or a call raised an error. An error drops all of them.
    """

    @property
    def joins_generations(self) -> bool:
        """Whether a start costs the open generations nothing.

        Otherwise those of one start are continued together, apart from others. They have one `options.kind`.
        """

    def decode_tokens(self, tokens: list[int]) -> str:
        """Return the text of `tokens`; a character with missing bytes is U+FFFD."""

    def start(self, generations: Sequence[Generation]) -> None:
        """Open these generations.

        Raises:
            OutOfDeviceMemory: the device has too little memory for so many of them.
        """

    def step(self) -> None:
        """Continue the open generations, and push the new tokens: mostly one for each of them.

        Raises:
            DecodingStopped: all of them are stopped. If only some are, the step is finished.
            OutOfDeviceMemory: the device has too little memory for so many of them.
        """

    def drop(self, generations: Sequence[Generation]) -> None:
        """Continue these generations no more. Those that are not open are ignored."""
