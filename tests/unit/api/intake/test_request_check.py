"""Forms are checked against the capabilities of every live worker."""

import msgspec
import pytest

from api.errors.tree import ModelNotFound, NoWorker
from api.intake.form_fields import parse_form
from api.intake.forms import SpeechForm, TranscriptionForm
from api.intake.live_workers import gather_capabilities
from api.intake.request_check import check_request
from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.errors import InvalidRequest
from shared.jobs import SpeechDetection, TranscriptionRequest, WordTimestamps

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


ALIASES = frozenset({"whisper-1"})


def ask(*offered: Capabilities, **fields: str) -> TranscriptionRequest:
    form = parse_form(SpeechForm, {name: [value] for name, value in fields.items()})
    return check_request(form, offered, aliases=ALIASES)


def ask_by_format(*offered: Capabilities, **fields: str) -> TranscriptionRequest:
    form = parse_form(TranscriptionForm, {name: [value] for name, value in fields.items()})
    return check_request(form, offered, aliases=ALIASES)


def test_an_empty_form_makes_a_default_request() -> None:
    assert ask(QWEN) == TranscriptionRequest()


def test_language_timestamps_and_prompt_become_the_request() -> None:
    request = ask(QWEN, language="English", return_timestamps="true", prompt="Qwen, ASR")
    assert request == TranscriptionRequest(
        language_hint="en", word_timestamps=WordTimestamps.REQUIRED, context="Qwen, ASR"
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
    ("spelling", "code"),
    [
        *[(spelling, "en") for spelling in ("en", "EN", "en-US", "eng", "English", "english", " en ")],
        *[(spelling, "zh") for spelling in ("zh-Hans", "cmn", "Chinese", "Mandarin")],
        *[(spelling, "fil") for spelling in ("fil", "tl", "Tagalog")],
        *[(spelling, None) for spelling in ("auto", "", "  ")],
    ],
)
def test_a_language_is_known_in_any_spelling(spelling: str, code: str | None) -> None:
    assert ask(QWEN, language=spelling).language_hint == code
    assert ask(QWEN, languages=spelling).language_hint == code


@pytest.mark.parametrize("spelling", ["Englsh", "yue", "Nederlands", "xx"])
def test_an_unsupported_language_is_refused_with_the_supported_ones(spelling: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Chinese \(zh\), English \(en\)|English \(en\), Filipino"):
        ask(QWEN, language=spelling)


def test_a_language_that_only_the_engine_lacks_says_so() -> None:
    with pytest.raises(InvalidRequest, match=r"Dutch \(nl\) is not supported by the engine \(qwen3\)"):
        ask(QWEN, language="Nederlands")


def test_temperature_and_vad_parameters_become_the_request() -> None:
    fields = {"temperature": "0.2", "chunking_strategy": '{"type": "server_vad", "prefix_padding_ms": 250}'}
    request = ask(QWEN, **fields)
    assert request == TranscriptionRequest(
        temperature=0.2, speech_detection=SpeechDetection(threshold=0.5, padding_s=0.25, pause_s=0.2)
    )


@pytest.mark.parametrize(
    ("fields", "word_timestamps"),
    [
        ({"response_format": "json"}, WordTimestamps.NONE),
        ({"response_format": "text"}, WordTimestamps.NONE),
        ({"response_format": "srt"}, WordTimestamps.WELCOME),
        ({"response_format": "vtt"}, WordTimestamps.WELCOME),
        ({"response_format": "verbose_json"}, WordTimestamps.WELCOME),
        ({"response_format": "verbose_json", "timestamp_granularities": "segment"}, WordTimestamps.WELCOME),
        ({"response_format": "verbose_json", "timestamp_granularities": "word"}, WordTimestamps.REQUIRED),
        ({"response_format": "srt", "return_timestamps": "true"}, WordTimestamps.REQUIRED),
    ],
)
def test_the_format_decides_how_much_word_timestamps_matter(
    fields: dict[str, str], word_timestamps: WordTimestamps
) -> None:
    assert ask_by_format(QWEN, **fields).word_timestamps is word_timestamps


def test_refused_word_timestamps_name_their_field() -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities": "word"}
    assert ask_by_format(BARE, response_format="verbose_json").word_timestamps is WordTimestamps.WELCOME
    with pytest.raises(InvalidRequest, match="bare") as refusal:
        ask_by_format(BARE, **fields)
    assert refusal.value.param == "timestamp_granularities"
    with pytest.raises(InvalidRequest, match="Chinese") as refusal:
        ask_by_format(QWEN, language="zh", **fields)
    assert refusal.value.param == "timestamp_granularities"


def test_logprobs_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="Omit include") as refusal:
        ask_by_format(QWEN, include="logprobs")
    assert refusal.value.param == "include"


@pytest.mark.parametrize(("prompt", "keywords"), [("é" * 6, ""), ("", "abc, defghijk"), ("abc", "defg, hi")])
def test_a_context_that_is_too_long_for_the_engine_is_refused(prompt: str, keywords: str) -> None:
    brief = msgspec.structs.replace(QWEN, max_context_bytes=11)
    with pytest.raises(InvalidRequest, match=r"qwen3.* takes 11") as refusal:
        ask(brief, prompt=prompt, keywords=keywords)
    assert refusal.value.param == ("prompt" if prompt else "keywords")
    assert ask(QWEN, prompt=prompt, keywords=keywords).context
    assert ask(brief, prompt="é" * 5).context == "é" * 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "Klingon"}, "language"),
        ({"language": "de"}, "language"),
        ({"return_timestamps": "true", "language": "zh"}, "return_timestamps"),
    ],
)
def test_a_missing_capability_is_refused_with_its_parameter(fields: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ask(QWEN, **fields)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("field", "value"), [("return_timestamps", "true"), ("prompt", "names"), ("keywords", "names")]
)
def test_nothing_is_accepted_and_then_ignored(field: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match="bare") as refusal:
        ask(BARE, **{field: value})
    assert refusal.value.param == field


def test_word_timestamps_are_allowed_with_a_detected_language() -> None:
    assert ask(QWEN, return_timestamps="true").word_timestamps is WordTimestamps.REQUIRED


def test_a_request_must_fit_every_worker() -> None:
    assert ask(QWEN, BARE, language="en").language_hint == "en"
    with pytest.raises(InvalidRequest, match="Chinese"):
        ask(QWEN, BARE, language="zh")


def test_equal_workers_count_once_and_no_worker_is_an_error() -> None:
    first = WorkerPresence("a", QWEN, ModelState.READY, "cuda:0")
    second = WorkerPresence("b", QWEN, ModelState.ABSENT, "cuda:1")
    assert gather_capabilities([first, second]) == {QWEN}
    assert gather_capabilities([]) == frozenset()
    with pytest.raises(NoWorker):
        ask()
