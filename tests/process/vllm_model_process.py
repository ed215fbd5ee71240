"""The model process with a stub of vLLM, whose process is played by one that has to be killed.

Arguments: how many steps it lives for, and how many seconds each takes.
"""

import sys
from collections.abc import Callable
from typing import Any

from tests.process.stand_in_model_process import start_stubborn_child
from tests.support import vllm_stand_in
from worker.model.process import main

SPOKEN = "language English<asr_text>As clear as day, and so on to the very end."


def start_with_child(start: Callable[..., Any]) -> Callable[..., Any]:
    """`start`, with a process beside it."""

    def start_both(**options: Any) -> Any:
        start_stubborn_child()
        return start(**options)

    return start_both


def install(lives_for_steps: int, step_s: float) -> None:
    """Put the stub in place of vLLM."""
    stand_in = vllm_stand_in.VllmStandIn(lambda _request: [*SPOKEN.encode(), vllm_stand_in.END])
    stand_in.lives_for_steps, stand_in.step_s = lives_for_steps, step_s
    stand_in.start = start_with_child(stand_in.start)  # type: ignore[method-assign]
    vllm_stand_in.install(stand_in)


if __name__ == "__main__":
    install(int(sys.argv[1]), float(sys.argv[2]))
    main()
