"""The reasons for which a generation ends for a sequence. Some of them become warnings."""

from enum import StrEnum


class FinishReason(StrEnum):
    """Why a generation ended for a sequence."""

    STOP = "stop"  # an end token
    LENGTH = "length"  # no tokens left
    REPETITION = "repetition"  # the text began to repeat itself
    STUCK = "stuck"  # it repeated itself after the repair as well; the rest is given up
    CONTEXT_ECHO = "context_echo"  # the text began to repeat the context
    FAILED = "failed"  # the generator could not go on
