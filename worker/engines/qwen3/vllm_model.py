"""vLLM with the model: generations as requests, whose tokens are followed step by step.

We step vLLM's engine ourselves, because `generate` returns only after decoding finishes. So streaming, stops
and repairs in `decoding` are the same as on torch. Only this module and `vllm_engine` import vLLM.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from shared.transcripts import TokenCounts
from worker.engines.qwen3.decoding import FollowTokens
from worker.engines.qwen3.device import watch_device
from worker.engines.qwen3.inputs import END_TOKENS, GenerationOptions, Prompt, PromptProcessor, pad_samples

ENGINE_LOST_EXIT_CODE = 71

_END_TOKEN = max(END_TOKENS)

_logger = structlog.get_logger(__name__)


class VllmModel:
    """vLLM with the model in a process of its own: a `worker.engines.qwen3.decoding.TokenGenerator`."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        from vllm import LLM

        self._processor = PromptProcessor(folder)
        self.decode_tokens = self._processor.decode
        self._engine: Any = LLM(
            model=str(folder),
            limit_mm_per_prompt={"audio": 1},
            mm_processor_cache_gb=0,  # the features of a window never come again
            **options,
        ).llm_engine
        self._request_ids = itertools.count(1)

    def generate(
        self, prompts: Sequence[Prompt], follow: FollowTokens, options: GenerationOptions
    ) -> Sequence[TokenCounts | None]:
        """Continue all `prompts` at once, without counts; end this process if vLLM or its GPU is lost."""
        requests: dict[str, int] = {}  # the number of the prompt for each request
        with watch_device(), _watch_engine():
            try:
                for number, prompt in enumerate(prompts):
                    requests[self._add_request(prompt, options)] = number
                self._follow_requests(requests, follow, max_new_tokens=options.max_new_tokens)
            finally:
                self._abort(list(requests))
        return [None] * len(prompts)

    def _add_request(self, prompt: Prompt, options: GenerationOptions) -> str:
        """Make vLLM continue `prompt`, and return the id of the request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        request_id = str(next(self._request_ids))
        self._engine.add_request(
            request_id,
            {
                "prompt_token_ids": self._processor.tokenize(prompt),
                "multi_modal_data": {"audio": [pad_samples(prompt.audio.read())]},
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

    def _abort(self, request_ids: Sequence[str]) -> None:
        """End requests; vLLM ignores those that have ended already."""
        if request_ids:
            self._engine.abort_request(list(request_ids))

    def _follow_requests(
        self, requests: dict[str, int], follow: FollowTokens, *, max_new_tokens: int
    ) -> None:
        """Step until no sequence needs more tokens; remove requests from `requests` as they finish.

        Raises:
            RuntimeError: vLLM ended a request whose sequence needs more tokens.
        """
        tokens_left = dict.fromkeys(requests, max_new_tokens)
        while requests:
            tokens: list[tuple[int, int]] = []
            ended: set[str] = set()
            for request_id, new in self._step(requests):
                tokens += [(requests[request_id], token) for token in _read_tokens(new)]
                tokens_left[request_id] -= len(new.token_ids)
                if new.finish_reason is not None:
                    ended.add(request_id)
            is_finished = follow(tokens)
            if any(tokens_left[name] > 0 and not is_finished[requests[name]] for name in ended):
                raise RuntimeError(
                    "vLLM has no room for the whole text of a window; shorten the prompt, or lower WINDOW_S"
                )
            done = [name for name, number in requests.items() if is_finished[number] or name in ended]
            self._abort(done)
            for request_id in done:
                del requests[request_id]

    def _step(self, requests: Mapping[str, int]) -> list[tuple[str, Any]]:
        """Wait for new tokens, and return vLLM's CompletionOutput for each request that has some."""
        return [
            (output.request_id, output.outputs[0])
            for output in self._engine.step()
            if output.request_id in requests  # a late output of an aborted request is ignored
        ]


def _read_tokens(output: Any) -> list[int]:
    """Return the new tokens of a request. If the model stopped, the last one is an end token."""
    tokens = list(output.token_ids)
    if output.finish_reason == "stop" and not (tokens and tokens[-1] in END_TOKENS):
        tokens.append(_END_TOKEN)
    return tokens


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
