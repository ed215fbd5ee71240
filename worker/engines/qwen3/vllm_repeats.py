"""The repetition penalty inside vLLM's own process, which imports this module by the name in OUTPUT_PENALTY.

vLLM's `repetition_penalty` counts the prompt, and with it the end tokens there. Its other penalties count no
token of the prompt, where the text so far stands when a text goes on. So requests bring that text along.
"""

from collections.abc import Callable, Sequence
from typing import Any

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from worker.engines.qwen3.repeats import penalise_repeats


class OutputPenalty(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM has no types here
    """A repetition penalty for the text of a request: `vllm_model` writes its `extra_args`."""

    def is_argmax_invariant(self) -> bool:
        """Return whether the likeliest token stays the same."""
        return False

    def new_req_logits_processor(self, params: Any) -> Callable[[Sequence[int], Any], Any] | None:
        """Return the processor of a new request, or None if it avoids no repeats."""
        options = params.extra_args
        if not options:
            return None

        def penalise(output: Sequence[int], scores: Any) -> Any:
            # With asynchronous scheduling, -1 stands for a token that is not known yet.
            said = [token for token in (*options["said"], *output) if token >= 0]
            return penalise_repeats(scores, scores.new_tensor(said, dtype=int), options["penalty"])

        return penalise
