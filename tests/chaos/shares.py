"""The endpoints that jobs come by, and how many by each."""

import random
from enum import StrEnum


class Endpoint(StrEnum):
    """By which way of use a job comes in."""

    JOBS = "jobs"  # submit and poll
    SYNC = "sync"  # the answer to the request is the transcript
    STREAM = "stream"  # the answer is a stream of the text so far
    DELTAS = "stream=true"  # the answer is a stream of what is new in the text, as OpenAI's clients join it

    @property
    def is_streamed(self) -> bool:
        """Whether the answer comes in pieces, so that it can break or be left in the middle."""
        return self in {Endpoint.STREAM, Endpoint.DELTAS}


SHARES = {Endpoint.JOBS: 0.5, Endpoint.SYNC: 0.2, Endpoint.STREAM: 0.2, Endpoint.DELTAS: 0.1}


def draw_endpoint(seed: int, number: int) -> Endpoint:
    """The endpoint of job `number`; the same for the same seed."""
    draw = random.Random(f"endpoint {seed} {number}")  # noqa: S311 - nothing secret is drawn
    return draw.choices(list(SHARES), list(SHARES.values()))[0]
