"""The mix of endpoints that jobs are submitted to."""

import random
from enum import StrEnum


class Endpoint(StrEnum):
    """A way to submit a job."""

    JOBS = "jobs"  # submit and poll
    SYNC = "sync"  # the answer to the request is the transcript
    STREAM = "stream"  # the answer is a stream of the text so far
    DELTAS = "stream=true"  # the answer is a stream of deltas, as OpenAI's clients join them

    @property
    def is_streamed(self) -> bool:
        """Return whether the answer is a stream, which can break or lose its client in the middle."""
        return self in {Endpoint.STREAM, Endpoint.DELTAS}


MIX = {Endpoint.JOBS: 0.5, Endpoint.SYNC: 0.2, Endpoint.STREAM: 0.2, Endpoint.DELTAS: 0.1}


def draw_endpoint(seed: int, number: int) -> Endpoint:
    """Return the endpoint of job `number`; the same for the same seed."""
    draw = random.Random(f"endpoint {seed} {number}")  # noqa: S311 - nothing secret is drawn
    return draw.choices(list(MIX), list(MIX.values()))[0]
