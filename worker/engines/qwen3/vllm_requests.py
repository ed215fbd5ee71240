"""Generations as requests to vLLM: their tokens are told row by row, and they end when told to."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from shared.transcripts import TokenCounts
from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.decoding import FollowTokens
from worker.engines.qwen3.device_loss import watch_device
from worker.engines.qwen3.row import END_TOKENS, Prompt

ENGINE_LOST_EXIT_CODE = 71

_END_TOKEN = max(END_TOKENS)

_logger = structlog.get_logger(__name__)


class RequestTaker(Protocol):
    """vLLM with the model, as far as it concerns generations."""

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`; a character of which bytes are missing is U+FFFD."""

    def add_request(
        self, prompt: Prompt, *, max_new_tokens: int, avoid_repeats: bool, temperature: float
    ) -> str:
        """Have vLLM continue `prompt`, and return the name of the request."""

    def step(self) -> Sequence[Any]:
        """Wait for new tokens: vLLM's RequestOutput for each request that has some."""

    def abort(self, request_ids: Sequence[str]) -> None:
        """End requests; those that have ended already are passed over."""


class RowTokens:
    """Takes tokens by row as they come, and tells `follow` one of each row at a time.

    A row that is ahead waits for the others. Rows begin together but for the few steps in which vLLM reads
    their prompts, so they are that far apart, or further where vLLM suspends one for want of memory.
    """

    def __init__(self, rows: int, follow: FollowTokens, *, max_new_tokens: int) -> None:
        self._follow = follow
        self._steps_left = max_new_tokens
        self._waiting: list[deque[int]] = [deque() for _ in range(rows)]
        self._is_ended = [False] * rows  # by vLLM, so that no more tokens come
        self._is_over: Sequence[bool] = [False] * rows

    @property
    def open_rows(self) -> list[int]:
        """The rows of which more tokens are needed."""
        return [row for row, is_over in enumerate(self._is_over) if not is_over and self._steps_left]

    def take(self, row: int, tokens: Sequence[int], *, finish_reason: str | None) -> None:
        """Keep what came of a row; one that stopped by itself ends with an end token, shown or not."""
        self._waiting[row].extend(tokens)
        self._is_ended[row] = self._is_ended[row] or finish_reason is not None
        if finish_reason == "stop" and not (tokens and tokens[-1] in END_TOKENS):
            self._waiting[row].append(_END_TOKEN)

    def tell(self) -> None:
        """Tell all tokens up to where one of an open row is missing.

        Raises:
            RuntimeError: vLLM ended a row of which more tokens are needed.
        """
        while (open_rows := self.open_rows) and all(self._waiting[row] for row in open_rows):
            self._steps_left -= 1
            self._is_over = self._follow([self._next_token(row) for row in range(len(self._waiting))])
        if any(self._is_ended[row] and not self._waiting[row] for row in self.open_rows):
            raise RuntimeError(
                "vLLM has no room for the whole text of a window; shorten the prompt, or lower WINDOW_S"
            )

    def _next_token(self, row: int) -> int:
        """The next token of an open row; of one that is over nobody looks at it."""
        return _END_TOKEN if self._is_over[row] else self._waiting[row].popleft()


class StoppableGenerator:
    """vLLM as `worker.engines.qwen3.decoding` wants it; sees between any two steps whether to stop."""

    def __init__(self, model: RequestTaker, is_stopped: Callable[[], bool]) -> None:
        self._model = model
        self._is_stopped = is_stopped

    def decode_tokens(self, tokens: list[int]) -> str:
        """The text of `tokens`; a character of which bytes are missing is U+FFFD."""
        return self._model.decode_tokens(tokens)

    def generate(
        self,
        prompts: Sequence[Prompt],
        follow: FollowTokens,
        *,
        max_new_tokens: int,
        avoid_repeats: bool,
        temperature: float = 0.0,
    ) -> Sequence[TokenCounts | None]:
        """Continue all `prompts` at once, uncounted; where vLLM's process or its GPU is lost, this one ends.

        Raises:
            DecodingStopped: the listener said stop.
        """
        requests: dict[str, int] = {}  # their names, and the rows they are for
        tokens = RowTokens(len(prompts), follow, max_new_tokens=max_new_tokens)
        with watch_device(), _watch_engine():
            try:
                for row, prompt in enumerate(prompts):
                    name = self._model.add_request(
                        prompt,
                        max_new_tokens=max_new_tokens,
                        avoid_repeats=avoid_repeats,
                        temperature=temperature,
                    )
                    requests[name] = row
                self._follow_requests(requests, tokens)
            finally:
                self._model.abort(list(requests))
        return [None] * len(prompts)

    def _follow_requests(self, requests: dict[str, int], tokens: RowTokens) -> None:
        """Tell tokens until none is needed any more; requests leave `requests` when they are done with."""
        while tokens.open_rows:
            if self._is_stopped():
                raise DecodingStopped
            for output in self._model.step():
                if (row := requests.get(output.request_id)) is not None:
                    said = output.outputs[0]
                    tokens.take(row, said.token_ids, finish_reason=said.finish_reason)
            tokens.tell()
            over = [name for name, row in requests.items() if row not in tokens.open_rows]
            self._model.abort(over)
            for name in over:
                del requests[name]


@contextmanager
def _watch_engine() -> Iterator[None]:
    """End this process where vLLM's own process has died; its job goes to a new one."""
    try:
        yield
    except Exception as error:  # vLLM's error, of which only the name is known without importing it
        if type(error).__name__ == "EngineDeadError":
            _logger.critical("vllm_lost", error=str(error))
            os._exit(ENGINE_LOST_EXIT_CODE)
        raise
