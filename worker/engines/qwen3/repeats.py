"""The repetition penalty, which both engines apply to the text so far, and not to the prompt."""

from typing import Any


def penalise_repeats(scores: Any, tokens: Any, penalty: float) -> Any:
    """Return the scores, of shape (…, vocabulary), with lower ones for `tokens`, of shape (…, count).

    The formula is that of transformers and vLLM: negative scores are multiplied, and others divided.
    """
    import torch

    said = scores.gather(-1, tokens)
    return scores.scatter(-1, tokens, torch.where(said < 0, said * penalty, said / penalty))
