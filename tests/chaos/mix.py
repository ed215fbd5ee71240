"""The mix of jobs: the endpoints that they are submitted to, and the ends that their requests lead to."""

import random
from collections.abc import Mapping
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


class Ending(StrEnum):
    """The end of a job: `succeeded`, `cancelled` or the code of its failure."""

    SUCCEEDED = "succeeded"
    CRASH = "engine_crash"  # it kills the model process in each attempt
    ERROR = "engine_error"  # the engine raises an error
    CANCELLED = "cancelled"  # its client cancels it while it is running
    TIMEOUT = "timeout"  # it is far too slow


DOOMED = tuple(ending for ending in Ending if ending is not Ending.SUCCEEDED)

MIX = {Endpoint.JOBS: 0.5, Endpoint.SYNC: 0.2, Endpoint.STREAM: 0.2, Endpoint.DELTAS: 0.1}


def draw_endpoint(seed: int, number: int) -> Endpoint:
    """Return the endpoint of job `number`; the same for the same seed."""
    draw = random.Random(f"endpoint {seed} {number}")  # noqa: S311 - nothing secret is drawn
    return draw.choices(list(MIX), list(MIX.values()))[0]


def draw_doomed(seed: int, jobs: int, of_each: int) -> Mapping[int, Ending]:
    """Return the jobs that must not succeed, by number: `of_each` kind, as far as there are jobs.

    Each kind comes once before any comes twice, and so on, with even distances.
    """
    draw = random.Random(f"doomed {seed}")  # noqa: S311 - nothing secret is drawn
    kinds = [ending for _ in range(of_each) for ending in draw.sample(DOOMED, len(DOOMED))]
    share = jobs / max(1, len(kinds))
    return {int(index * share + draw.random() * share) + 1: kind for index, kind in enumerate(kinds)}
