"""The outcome of an input, and the rules for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fuzz.cases import Case

ALLOWED_FAILURES = frozenset({"audio_undecodable", "audio_too_long"})
"""The error codes with which a job may fail because of its file."""

_GAVE_UP = ("The decoder gave up", "Examining the file took longer")
_ENDS = frozenset({"succeeded", "failed"})
_CLIENT_ERRORS = range(400, 500)
_SERVER_ERRORS = range(500, 600)


@dataclass(frozen=True)
class Answer:
    """How a request ended.

    `status` is None where no answer came; `state` is that of the job where there was one, and `stuck` where
    it did not end in time. `code` and `message` are those of the error, if any.
    """

    status: int | None
    state: str | None = None
    code: str | None = None
    message: str = ""

    @property
    def kind(self) -> str:
        """The row of the answer in the table."""
        match self.status, self.state:
            case _, "stuck":
                return "stuck"
            case None, _:
                return "no answer"
            case _, "failed":
                return f"failed: {self.code}"
            case status, _ if self.code:
                return f"{status} {self.code}"
            case status, _:
                return str(status)

    @property
    def is_given_up(self) -> bool:
        """Return whether the sandboxed decoder crashed or exceeded a limit on this file."""
        return self.message.startswith(_GAVE_UP)


@dataclass(frozen=True)
class Outcome:
    """An input and the answer to it."""

    case: Case
    answer: Answer
    elapsed_s: float

    @property
    def broken_rule(self) -> str | None:
        """The rule that the answer breaks, or None."""
        return find_broken_rule(self.answer)


_RULES: Mapping[str, Callable[[Answer], bool]] = {
    "stuck": lambda answer: answer.state == "stuck",
    "no answer": lambda answer: answer.status is None,
    "5xx": lambda answer: answer.status in _SERVER_ERRORS,
    "failed with another code": lambda answer: (
        answer.state == "failed" and answer.code not in ALLOWED_FAILURES
    ),
    "refused without a reason": lambda answer: answer.status in _CLIENT_ERRORS and not answer.message,
    "neither refused nor ended": lambda answer: (
        answer.status not in _CLIENT_ERRORS and answer.state not in _ENDS
    ),
}
RULES = tuple(_RULES)
"""The names of the rules."""


def find_broken_rule(answer: Answer) -> str | None:
    """Return the first rule that `answer` breaks.

    Every input gets an answer, never a 5xx; every job ends; every refusal has a reason.
    """
    return next((name for name, is_broken in _RULES.items() if is_broken(answer)), None)
