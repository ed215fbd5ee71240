"""vLLM with the model: generations are requests, which it continues step by step.

We step vLLM's engine ourselves, because `generate` returns only after decoding finishes. So streaming, stops
and repairs in `decoding` are the same as on torch. Only this module and `vllm_engine` import vLLM.
"""

import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import structlog

from worker.engines.qwen3.device import watch_device
from worker.engines.qwen3.inputs import END_TOKENS, PromptProcessor, pad_samples
from worker.engines.qwen3.token_generator import Generation

ENGINE_LOST_EXIT_CODE = 71
OUTPUT_PENALTY = "worker.engines.qwen3.vllm_repeats:OutputPenalty"

PREPARE_S = 0.1
"""Seconds in each step for the features of audio that joins: the new tokens of other rows wait so long.

vLLM computes on in its own process meanwhile.
"""

_END_TOKEN = max(END_TOKENS)

_logger = structlog.get_logger(__name__)


class VllmModel:
    """vLLM with the model in a process of its own: a `token_generator.TokenGenerator`."""

    joins_generations = True

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        from vllm import LLM

        self._processor = PromptProcessor(folder)
        self.decode_tokens = self._processor.decode
        self._engine: Any = LLM(
            model=str(folder),
            limit_mm_per_prompt={"audio": 1},
            logits_processors=[OUTPUT_PENALTY],
            mm_processor_cache_gb=0,  # the features of a window never come again
            **options,
        ).llm_engine
        _watch_processes(self._engine)
        self._request_ids = itertools.count(1)
        self._waiting: deque[Generation] = deque()
        self._open: dict[str, Generation] = {}  # by their requests

    def start(self, generations: Sequence[Generation]) -> None:
        """Open these generations; the next steps prepare them."""
        self._waiting += generations

    def step(self) -> None:
        """Wait for new tokens of the open generations; end this process if vLLM or its GPU is lost."""
        with self._watch():
            self._prepare_some()
            if not self._open:  # vLLM would wait for ever
                return
            for output in self._engine.step():
                if output.request_id in self._open:  # a late output of an aborted request is ignored
                    _push_tokens(self._open[output.request_id], output.outputs[0])
            self._abort(name for name, generation in self._open.items() if generation.is_finished)

    def drop(self, generations: Sequence[Generation]) -> None:
        """Continue these generations no more."""
        dropped = set(map(id, generations))
        self._waiting = deque(one for one in self._waiting if id(one) not in dropped)
        with self._watch():
            self._abort(name for name, generation in self._open.items() if id(generation) in dropped)

    def _prepare_some(self) -> None:
        """Give vLLM requests for PREPARE_S, and the rest at later steps."""
        end = time.monotonic() + PREPARE_S
        while self._waiting:
            generation = self._waiting.popleft()
            try:
                self._add_request(generation)
            except ValueError as error:  # as of a prompt that is too long
                generation.fail(f"The engine failed: {error}")
            if time.monotonic() >= end:
                return

    def _add_request(self, generation: Generation) -> None:
        """Make vLLM continue the prompt."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        request_id = str(next(self._request_ids))
        prompt, options = generation.prompt, generation.options
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
                extra_args=_describe_penalty(generation),
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            ),
        )
        self._open[request_id] = generation

    def _abort(self, request_ids: Iterable[str]) -> None:
        """End requests; vLLM ignores those that have ended already."""
        aborted = list(request_ids)
        for request_id in aborted:
            del self._open[request_id]
        if aborted:
            self._engine.abort_request(aborted)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Abort all requests after an error, or end this process if vLLM or its GPU is lost."""
        with watch_device(), _watch_engine():
            try:
                yield
            except Exception:
                self._waiting.clear()
                self._abort(self._open)
                raise


def _describe_penalty(generation: Generation) -> dict[str, Any] | None:
    """Return what OUTPUT_PENALTY reads, or None without a penalty."""
    if not generation.options.avoid_repeats:
        return None
    said = list(generation.prompt.generated)
    return {"penalty": generation.options.repetition_penalty, "said": said}


def _push_tokens(generation: Generation, output: Any) -> None:
    """Push what vLLM's CompletionOutput has for a request."""
    for token in _read_tokens(output):
        if not generation.is_finished:
            generation.push(token)
    if output.finish_reason is not None and not generation.is_finished:
        generation.fail(
            "vLLM has no room for the whole text of a window; shorten the prompt, or lower WINDOW_S"
        )


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


def _watch_processes(engine: Any) -> None:
    """End this process as soon as vLLM's own process ends, also during a `step`.

    If a signal kills it, vLLM notices, but its `step` goes on waiting for output.
    """
    resources = getattr(engine.engine_core, "resources", None)
    if resources is not None:  # else VLLM_ENABLE_V1_MULTIPROCESSING=0, and there is no other process
        processes = resources.engine_manager.processes
        Thread(target=_end_with, args=(processes,), name="vllm-watch", daemon=True).start()


def _end_with(processes: Sequence[Any]) -> None:
    wait([process.sentinel for process in processes])
    _logger.critical("vllm_lost", error="its process has ended")
    os._exit(ENGINE_LOST_EXIT_CODE)
