"""Rows come out of a session one by one, in the order of their job, while others go on."""

from collections.abc import Iterator

import msgspec
import pytest

from shared.jobs import FailureCode, TranscriptionRequest
from tests.support.qwen3_stand_in import ENGLISH, Listener, ModelStandIn, make_window
from worker.engines.protocol import DecodingStopped, Row, RowFailure, RowStopped
from worker.engines.qwen3.decoding import RowDecoding
from worker.engines.qwen3.language_regions import CutWindows
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.session import DecodingSession

STORY = "The tide is out, the boats lie on the sand, and nobody knows when the ferry will come again."
SHORT, LONG = f"{ENGLISH}Yes.", f"{ENGLISH}{STORY}"
REQUEST = TranscriptionRequest()
RULES = SequenceRules(max_new_tokens=500)


def make_row(
    model: ModelStandIn,
    number: int,
    listener: Listener,
    request: TranscriptionRequest = REQUEST,
    *,
    rules: SequenceRules = RULES,
) -> RowDecoding:
    window = make_window(number)
    return RowDecoding(Row(window, request, listener), CutWindows([window]), model.decode_tokens, rules)


def advance(session: DecodingSession) -> Iterator[list[tuple[int, str]]]:
    """Yield the windows and texts of the rows that are done at each step with some."""
    while session.rows:
        done = session.advance()
        if done:
            yield [(one.row.row.window.index, read(one.found)) for one in done]


def read(found: object) -> str:
    if isinstance(found, list):
        return "".join(part.text for part in found)
    return type(found).__name__


def test_the_row_of_a_job_is_done_while_a_longer_one_goes_on() -> None:
    model = ModelStandIn(LONG, SHORT)
    session = DecodingSession(model, max_sequences=2)
    session.add([make_row(model, number, Listener()) for number in range(2)])

    steps = advance(session)

    assert next(steps) == [(1, "Yes.")]
    assert session.rows
    assert list(steps) == [[(0, STORY)]]


def test_rows_of_one_job_are_done_in_order() -> None:
    model, listener = ModelStandIn(SHORT, LONG, SHORT), Listener()
    session = DecodingSession(model, max_sequences=3)
    session.add([make_row(model, number, listener) for number in range(3)])

    assert [[window for window, _ in done] for done in advance(session)] == [[0], [1, 2]]
    assert listener.texts == {0: "Yes.", 1: STORY, 2: "Yes."}


def test_tails_are_published_again_after_a_window_whose_end_drops_all_partials() -> None:
    model, listener = ModelStandIn(SHORT, LONG, LONG), Listener()
    session = DecodingSession(model, max_sequences=3)
    session.add([make_row(model, number, listener) for number in range(3)])
    next(advance(session))
    listener.partials.clear()

    session.advance()

    assert {window for window, _, tail in listener.partials if tail} == {1, 2}


def test_a_job_that_is_stopped_ends_alone_and_its_generations_with_it() -> None:
    model = ModelStandIn(LONG, LONG)
    session = DecodingSession(model, max_sequences=2)
    session.add([make_row(model, 0, Listener(max_checks=5)), make_row(model, 1, Listener())])

    steps = advance(session)

    assert next(steps) == [(0, RowStopped.__name__)]
    assert model.open_generations == 1
    assert list(steps) == [[(1, STORY)]]


@pytest.mark.parametrize("max_new_tokens", [500, 10])
def test_each_token_without_text_is_a_sign_of_life_in_repairs_too(max_new_tokens: int) -> None:
    silence = " " * 40
    model, listener = ModelStandIn(silence), Listener()
    session = DecodingSession(model, max_sequences=1)
    rules = SequenceRules(max_new_tokens=max_new_tokens)
    session.add([make_row(model, 0, listener, rules=rules)])

    assert list(advance(session)) == [[(0, "")]]
    assert listener.partials == []
    assert listener.stop_checks > len(silence)


class BrokenListener(Listener):
    """A listener that cannot take partials."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        raise BrokenPipeError


def test_an_error_that_the_model_did_not_raise_is_not_hidden() -> None:
    model = ModelStandIn(LONG)
    session = DecodingSession(model, max_sequences=1)
    session.add([make_row(model, 0, BrokenListener())])

    with pytest.raises(BrokenPipeError):
        list(advance(session))


class RefusingModel(ModelStandIn):
    """A model that cannot go on with window 0 after some tokens."""

    def step(self) -> None:
        super().step()
        for generation in self._list_open():
            if generation.prompt.audio.read()[0] == 0 and len(generation.prompt.generated) == 5:
                generation.fail("no room")
                self.drop([generation])


class BrokenModel(ModelStandIn):
    """A model that raises an error if window 0 is open after some tokens, and then forgets all."""

    def step(self) -> None:
        opened = self._list_open()
        if any(one.prompt.audio.read()[0] == 0 and len(one.prompt.generated) >= 5 for one in opened):
            self.drop(opened)
            raise RuntimeError("broken")
        super().step()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RefusingModel(*[LONG] * 5), "no room"),
        (BrokenModel(*[LONG] * 5), "The engine failed: broken"),
        (BrokenModel(*[LONG] * 5, joins=True), "The engine failed: broken"),
    ],
)
def test_an_error_fails_the_job_that_causes_it_and_costs_the_others_no_text(
    model: ModelStandIn, message: str
) -> None:
    session = DecodingSession(model, max_sequences=5)
    session.add([make_row(model, number, Listener()) for number in range(5)])
    found: dict[int, object] = {}
    while session.rows:
        found |= {one.row.row.window.index: one.found for one in session.advance()}

    assert found.pop(0) == RowFailure(FailureCode.ENGINE_ERROR, message)
    assert [read(one) for one in found.values()] == [STORY] * 4


class WatchingModel(ModelStandIn):
    """A model that looks for stops within its steps, as often as it generates tokens."""

    def step(self) -> None:
        opened = self._list_open()
        if all(generation.is_stopped() for generation in opened):
            self.drop(opened)
            raise DecodingStopped
        super().step()


@pytest.mark.parametrize("joins", [False, True])
def test_a_stop_within_a_step_ends_all_rows_without_a_failure(*, joins: bool) -> None:
    model = WatchingModel(LONG, LONG, joins=joins)
    session = DecodingSession(model, max_sequences=2)
    listener = Listener(max_checks=6)
    session.add([make_row(model, number, listener) for number in range(2)])

    assert list(advance(session)) == [[(0, RowStopped.__name__), (1, RowStopped.__name__)]]


def test_rows_that_wait_beside_stopped_ones_go_on() -> None:
    model = WatchingModel(LONG, LONG)
    session = DecodingSession(model, max_sequences=1)
    session.add([make_row(model, 0, Listener(max_checks=6)), make_row(model, 1, Listener())])

    assert list(advance(session)) == [[(0, RowStopped.__name__)], [(1, STORY)]]


def test_sequences_of_other_options_wait_for_a_call_of_their_own() -> None:
    model = ModelStandIn(SHORT, SHORT, SHORT)
    warm = msgspec.structs.replace(REQUEST, temperature=0.5)
    session = DecodingSession(model, max_sequences=3)
    requests = (REQUEST, warm, REQUEST)
    session.add([make_row(model, number, Listener(), one) for number, one in enumerate(requests)])

    assert [[window for window, _ in done] for done in advance(session)] == [[0, 2], [1]]


def test_a_model_that_joins_generations_starts_all_at_once_and_repairs_beside_the_others() -> None:
    model = ModelStandIn(f"{ENGLISH}{'I see. ' * 99}", LONG, joins=True)
    warm = msgspec.structs.replace(REQUEST, temperature=0.5)
    session = DecodingSession(model, max_sequences=1)
    session.add([make_row(model, 0, Listener()), make_row(model, 1, Listener(), warm)])

    done = list(advance(session))

    assert model.calls == [[0, 1], [0]]
    assert len(done) == 2


def test_a_session_that_is_closed_leaves_no_generation_open() -> None:
    model = ModelStandIn(LONG, LONG)
    session = DecodingSession(model, max_sequences=2)
    session.add([make_row(model, number, Listener()) for number in range(2)])
    session.advance()

    session.close()

    assert model.open_generations == 0
