"""What a form asks for is checked against what every live worker can do."""

import pytest

from api.errors import ModelNotFound
from api.forms import SpeechForm, parse_form
from api.request_check import check_request, gather_capabilities
from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.errors import InvalidRequest, NoWorker
from shared.jobs import TranscriptionRequest, WordTimes

QWEN = Capabilities(
    engine="qwen3",
    model="Qwen/Qwen3-ASR-0.6B",
    languages=frozenset({"en", "zh", "fil"}),
    word_languages=frozenset({"en"}),
    context=True,
    streaming=True,
)
BARE = Capabilities(
    engine="bare",
    model="lab/bare",
    languages=frozenset({"en", "tl"}),
    word_languages=frozenset(),
    context=False,
    streaming=False,
)


def ask(*offered: Capabilities, **fields: str) -> TranscriptionRequest:
    return check_request(parse_form(SpeechForm, {name: [value] for name, value in fields.items()}), offered)


def test_an_empty_form_asks_for_nothing_special() -> None:
    assert ask(QWEN) == TranscriptionRequest()


def test_language_timestamps_and_prompt_become_the_request() -> None:
    request = ask(QWEN, language="English", return_timestamps="true", prompt="Qwen, ASR")
    assert request == TranscriptionRequest(
        language_hint="en", word_times=WordTimes.REQUIRED, context="Qwen, ASR"
    )


def test_the_hint_is_the_code_that_the_engine_announced() -> None:
    assert ask(QWEN, language="Tagalog").language_hint == "fil"
    assert ask(BARE, language="Tagalog").language_hint == "tl"


@pytest.mark.parametrize("model", ["Qwen/Qwen3-ASR-0.6B", "Qwen3-ASR-0.6B", "whisper-1", ""])
def test_the_served_model_its_short_name_and_an_alias_are_known(model: str) -> None:
    assert ask(QWEN, model=model) == TranscriptionRequest()


def test_any_other_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match=r"gpt-9.*Qwen/Qwen3-ASR-0\.6B"):
        ask(QWEN, model="gpt-9")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "Klingon"}, "language"),
        ({"language": "de"}, "language"),
        ({"return_timestamps": "true", "language": "zh"}, "return_timestamps"),
    ],
)
def test_what_the_engine_lacks_is_refused_naming_the_parameter(fields: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ask(QWEN, **fields)
    assert refusal.value.param == param


@pytest.mark.parametrize(("field", "value"), [("return_timestamps", "true"), ("prompt", "names")])
def test_nothing_is_accepted_and_then_ignored(field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match="bare") as refusal:
        ask(BARE, **{field: value})
    assert refusal.value.param == field


def test_times_of_words_may_be_asked_for_while_the_language_is_to_be_detected() -> None:
    assert ask(QWEN, return_timestamps="true").word_times is WordTimes.REQUIRED


def test_a_request_has_to_suit_every_worker_that_may_get_it() -> None:
    assert ask(QWEN, BARE, language="en").language_hint == "en"
    with pytest.raises(InvalidRequest, match="Chinese"):
        ask(QWEN, BARE, language="zh")


def test_workers_of_the_same_engine_count_once_and_none_is_an_error() -> None:
    first = WorkerPresence("a", QWEN, ModelState.READY, "cuda:0")
    second = WorkerPresence("b", QWEN, ModelState.ABSENT, "cuda:1")
    assert gather_capabilities([first, second]) == {QWEN}
    with pytest.raises(NoWorker):
        gather_capabilities([])
