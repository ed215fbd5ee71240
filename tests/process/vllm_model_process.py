"""The model process with a stub of vLLM, whose process is a real one that has to be killed.

Arguments: how many steps it lives for, and how many seconds each takes.
"""

import sys

from tests.support import vllm_stand_in
from worker.model.process import main

SPOKEN = "language English<asr_text>As clear as day, and so on to the very end."


def install(lives_for_steps: int, step_s: float) -> None:
    """Put the stub in place of vLLM."""
    stand_in = vllm_stand_in.VllmStandIn(lambda _request: [*SPOKEN.encode(), vllm_stand_in.END])
    stand_in.lives_for_steps, stand_in.step_s = lives_for_steps, step_s
    stand_in.make_client = vllm_stand_in.SyncMPClient
    vllm_stand_in.install(stand_in)


if __name__ == "__main__":
    install(int(sys.argv[1]), float(sys.argv[2]))
    main()
