"""vLLM with the model: generations as requests, whose tokens are followed step by step.

We step vLLM's engine ourselves, because `generate` returns only after decoding finishes. So streaming, stops
and repairs in `decoding` are the same as on torch. Only this module and `vllm_engine` import vLLM.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from shared.transcripts import TokenCounts
from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.decoding import FollowTokens
from worker.engines.qwen3.device import watch_device
from worker.engines.qwen3.inputs import END_TOKENS, GenerationOptions, Prompt, PromptProcessor, pad_samples

ENGINE_LOST_EXIT_CODE = 71

_END_TOKEN = max(END_TOKENS)

_logger = structlog.get_logger(__name__)


class VllmModel:
    """vLLM with the model in a process of its own, and Qwen's processor in this one."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        from vllm import LLM

        self._processor = PromptProcessor(folder)
        self._engine: Any = LLM(
            model=str(folder),
            limit_mm_per_prompt={"audio": 1},
            mm_processor_cache_gb=0,  # the features of a window never come again
            **options,
        ).llm_engine
        self._request_ids = itertools.count(1)

    def decode_tokens(self, tokens: list[int]) -> str:
        """Return the text of `tokens`; a character with missing bytes is U+FFFD."""
        return self._processor.decode(tokens)

    def add_request(self, prompt: Prompt, options: GenerationOptions) -> str:
        """Make vLLM continue `prompt`, and return the id of the request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        request_id = str(next(self._request_ids))
        self._engine.add_request(
            request_id,
            {
                "prompt_token_ids": self._processor.tokenize(prompt),
                "multi_modal_data": {"audio": [pad_samples(prompt.samples)]},
            },
            SamplingParams(
                temperature=options.temperature,
                max_tokens=options.max_new_tokens,
                stop_token_ids=sorted(END_TOKENS),
                repetition_penalty=options.repetition_penalty,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            ),
        )
        return request_id

    def step(self) -> Sequence[Any]:
        """Wait for new tokens; return vLLM's RequestOutput for each request that has some."""
        return self._engine.step()  # type: ignore[no-any-return]

    def abort(self, request_ids: Sequence[str]) -> None:
        """End requests; requests that have ended already are ignored."""
        if request_ids:
            self._engine.abort_request(list(request_ids))


class TokenQueues:
    """The tokens of each sequence that `follow` has not seen yet; it takes one of each at a time.

    A sequence that is ahead waits for the others. Sequences begin together, except for the few steps in
    which vLLM reads their prompts. So they are that far apart, or further if vLLM suspends one for lack of
    memory.
    """

    def __init__(self, sequences: int, follow: FollowTokens, *, max_new_tokens: int) -> None:
        self._follow = follow
        self._steps_left = max_new_tokens
        self._waiting: list[deque[int]] = [deque() for _ in range(sequences)]
        self._is_ended = [False] * sequences  # by vLLM, so that no more tokens come
        self._is_finished: Sequence[bool] = [False] * sequences

    @property
    def open_sequences(self) -> list[int]:
        """The numbers of the sequences that need more tokens."""
        return [
            number
            for number, is_finished in enumerate(self._is_finished)
            if not is_finished and self._steps_left
        ]

    def add(self, number: int, tokens: Sequence[int], *, finish_reason: str | None) -> None:
        """Add the tokens of a sequence; if the model stopped it, an end token follows, shown or not."""
        self._waiting[number].extend(tokens)
        self._is_ended[number] = self._is_ended[number] or finish_reason is not None
        if finish_reason == "stop" and not (tokens and tokens[-1] in END_TOKENS):
            self._waiting[number].append(_END_TOKEN)

    def flush(self) -> None:
        """Hand all tokens to `follow`, up to where the next token of an open sequence is missing.

        Raises:
            RuntimeError: vLLM ended a sequence that needs more tokens.
        """
        while (numbers := self.open_sequences) and all(self._waiting[number] for number in numbers):
            self._steps_left -= 1
            self._is_finished = self._follow([self._take(number) for number in range(len(self._waiting))])
        if any(self._is_ended[number] and not self._waiting[number] for number in self.open_sequences):
            raise RuntimeError(
                "vLLM has no room for the whole text of a window; shorten the prompt, or lower WINDOW_S"
            )

    def _take(self, number: int) -> int:
        """Return the next token of an open sequence; the tokens of finished ones are ignored."""
        return _END_TOKEN if self._is_finished[number] else self._waiting[number].popleft()


class StoppableGenerator:
    """The model on vLLM as a `worker.engines.qwen3.decoding.TokenGenerator`.

    It checks for a stop before each step, also while prompts are read and no tokens come.
    """

    def __init__(self, model: VllmModel, is_stopped: Callable[[], bool]) -> None:
        self._model = model
        self._is_stopped = is_stopped

    def decode_tokens(self, tokens: list[int]) -> str:
        """Return the text of `tokens`; a character with missing bytes is U+FFFD."""
        return self._model.decode_tokens(tokens)

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, options: GenerationOptions
    ) -> Sequence[TokenCounts | None]:
        """Continue all `prompts` at once, without counts; end this process if vLLM or its GPU is lost.

        Raises:
            DecodingStopped: the listener asked for a stop.
        """
        requests: dict[str, int] = {}  # the number of the sequence for each request
        queues = TokenQueues(len(prompts), follow, max_new_tokens=options.max_new_tokens)
        with watch_device(), _watch_engine():
            try:
                for number, prompt in enumerate(prompts):
                    requests[self._model.add_request(prompt, options)] = number
                self._follow_requests(requests, queues)
            finally:
                self._model.abort(list(requests))
        return [None] * len(prompts)

    def _follow_requests(self, requests: dict[str, int], queues: TokenQueues) -> None:
        """Step until no sequence needs more tokens; remove requests from `requests` as they finish."""
        while queues.open_sequences:
            if self._is_stopped():
                raise DecodingStopped
            for output in self._model.step():
                if (number := requests.get(output.request_id)) is not None:
                    new = output.outputs[0]
                    queues.add(number, new.token_ids, finish_reason=new.finish_reason)
            queues.flush()
            finished = [name for name, number in requests.items() if number not in queues.open_sequences]
            self._model.abort(finished)
            for request_id in finished:
                del requests[request_id]


@contextmanager
def _watch_engine() -> Iterator[None]:
    """End this process if vLLM's own process has died; a new one takes the job."""
    try:
        yield
    except Exception as error:  # vLLM's error, of which only the name is known without an import
        if type(error).__name__ == "EngineDeadError":
            _logger.critical("vllm_lost", error=str(error))
            os._exit(ENGINE_LOST_EXIT_CODE)
        raise
