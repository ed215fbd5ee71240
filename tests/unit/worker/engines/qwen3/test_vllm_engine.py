"""The engine `qwen3-vllm` on a stub of vLLM: its requests, its texts, its repairs, and how it stops."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from scripts.purposes import LOCKS_DIR
from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest, WordTimestamps
from shared.transcripts import WindowTranscript
from tests.support.rows import decode_windows, open_outcome
from tests.support.tiny_qwen3 import TINY
from tests.support.vllm_stand_in import END, Request, RequestOutputKind, VllmStandIn, make_qwen_modules
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import (
    DecodingStopped,
    ModelUnavailable,
    Row,
    RowFailure,
    Span,
    Window,
    WordsUnsupported,
)
from worker.engines.qwen3 import vllm_model
from worker.engines.qwen3.sequence_rules import SequenceRules
from worker.engines.qwen3.vllm_engine import (
    _VLLM_CACHES,
    _VLLM_ENVIRONMENT,
    REQUIREMENTS,
    Qwen3VllmEngine,
    count_window_tokens,
)
from worker.settings import WorkerSettings

ENGLISH = "language English<asr_text>"
CONTEXT = "Minutes of the harbour board, with Ms. Okafor and Mr. Lindqvist."

# The text of a window, given the request and the text so far.
Script = Callable[[Request, str], str]


class Listener:
    """A listener that collects texts and counts partials, and asks for a stop at the check of that number."""

    def __init__(self, *, max_checks: int = 1_000_000) -> None:
        self.texts: dict[int, str] = {}
        self.partials = 0
        self._max_checks = max_checks

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        self.texts[window] = self.texts.get(window, "") + delta
        self.partials += 1

    def is_stopped(self) -> bool:
        self._max_checks -= 1
        return self._max_checks < 0


def speak(*scripts: str | Script) -> Callable[[Request], list[int]]:
    """A speaker for windows whose samples are their numbers; it goes on from the tokens in the prompt."""

    def say(request: Request) -> list[int]:
        script = scripts[int(request.audio[0])]
        _, _, said = bytes(request.prompt_tokens).decode().partition("[audio]")
        text = script if isinstance(script, str) else script(request, said)
        assert text.startswith(said)
        return [*text[len(said) :].encode(), END]

    return say


def make_window(number: int, *, seconds: int = 4) -> Window:
    start = 100 * SAMPLE_RATE_HZ * (number + 1)
    span = Span(start, start + seconds * SAMPLE_RATE_HZ)
    samples = np.full(span.length, number, np.float32)
    return Window(index=number, spans=(span,), samples=samples, end_sample=span.end)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[VllmStandIn]:
    """The stub in place of vLLM, with a text that tests can replace."""
    stand_in = VllmStandIn(speak(f"{ENGLISH}Hello there."))
    for name, module in (stand_in.make_modules() | make_qwen_modules()).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(vllm_model, "PREPARE_S", 60.0)  # all rows in one step, however busy the machine
    for name in (*_VLLM_ENVIRONMENT, *_VLLM_CACHES):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield stand_in
    assert stand_in.engine is None or stand_in.engine.running == {}


def make_engine(
    rules: SequenceRules | None = None, *, device: str = "auto", model_id: str = ""
) -> Qwen3VllmEngine:
    settings = WorkerSettings(model_id=model_id or str(TINY), device=device, vllm_gpu_memory=0.5)
    return Qwen3VllmEngine(settings, rules=rules or SequenceRules(max_new_tokens=400))


def decode(
    windows: int = 1,
    *,
    rules: SequenceRules | None = None,
    listener: Listener | None = None,
    request: TranscriptionRequest | None = None,
) -> list[WindowTranscript]:
    engine = make_engine(rules)
    engine.load(lambda _phase: None)
    slices = [make_window(number) for number in range(windows)]
    return decode_windows(engine, slices, request or TranscriptionRequest(), listener or Listener())


def text_of(transcript: WindowTranscript) -> str:
    return "".join(segment.text for segment in transcript.segments)


def test_windows_are_decoded_at_once_with_a_partial_for_each_token(vllm: VllmStandIn) -> None:
    vllm.speak = speak(f"{ENGLISH}One two.", "language German<asr_text>Grüße.", "language None<asr_text>")
    listener = Listener()

    transcripts = decode(3, listener=listener)

    assert [text_of(transcript) for transcript in transcripts] == ["One two.", "Grüße.", ""]
    assert [[segment.language for segment in one.segments] for one in transcripts] == [["en"], ["de"], []]
    assert listener.texts == {0: "One two.", 1: "Grüße."}
    assert listener.partials > len("One two.")
    assert len(vllm.requests) == 3


@pytest.mark.parametrize("delay", [1, 7, 100])
@pytest.mark.parametrize("hides_end", [False, True])
def test_sequences_that_begin_at_different_steps_lose_no_text(
    vllm: VllmStandIn, delay: int, *, hides_end: bool
) -> None:
    texts = ["First of all.", "二零一六", "And last."]
    vllm.speak = speak(*(ENGLISH + text for text in texts))
    vllm.delay, vllm.hides_end = delay, hides_end
    listener = Listener()

    transcripts = decode(3, listener=listener)

    assert [text_of(transcript) for transcript in transcripts] == texts
    assert [listener.texts[number] for number in range(3)] == texts


def test_a_request_is_greedy_and_brings_new_tokens_alone(vllm: VllmStandIn) -> None:
    decode()

    (request,) = vllm.requests
    assert (request.params.temperature, request.params.extra_args) == (0.0, None)
    assert request.params.output_kind is RequestOutputKind.DELTA
    assert END in request.params.stop_token_ids
    assert bytes(request.prompt_tokens) == b"[][audio]"


def test_context_and_forced_language_go_into_the_prompt(vllm: VllmStandIn) -> None:
    request = TranscriptionRequest(language_hint="de", context="Lindqvist")
    vllm.speak = lambda _request: [*b"Guten Tag.", END]

    (transcript,) = decode(request=request)

    assert bytes(vllm.requests[0].prompt_tokens) == b"[Lindqvist][audio]language German<asr_text>"
    assert [segment.language for segment in transcript.segments] == ["de"]
    assert text_of(transcript) == "Guten Tag."


def test_a_truncated_text_goes_on_from_its_end(vllm: VllmStandIn) -> None:
    text = "This sentence is longer than the tokens that it is given at first."
    vllm.speak = speak(ENGLISH + text)
    listener = Listener()

    (transcript,) = decode(rules=SequenceRules(max_new_tokens=40), listener=listener)

    assert text_of(transcript) == listener.texts[0] == text
    assert (transcript.is_complete, transcript.warnings) == (True, ())
    first, second = vllm.requests
    said = (ENGLISH + text)[:40]
    assert bytes(second.prompt_tokens) == bytes(first.prompt_tokens) + said.encode()
    assert (first.params.max_tokens, second.params.max_tokens) == (40, 80)


def test_a_loop_is_cut_and_repeats_are_penalised(vllm: VllmStandIn) -> None:
    def repeat(request: Request, said: str) -> str:
        if request.params.extra_args:
            return f"{said}and so on."
        return f"{ENGLISH}Well, " + "again " * 60

    vllm.speak = speak(repeat)
    listener = Listener()

    (transcript,) = decode(listener=listener)

    assert text_of(transcript).endswith("and so on.")
    assert text_of(transcript) == listener.texts[0]
    first, second = vllm.requests
    assert first.params.extra_args is None
    said = second.prompt_tokens[len(first.prompt_tokens) :]
    assert second.params.extra_args == {"penalty": 1.2, "said": said}
    assert bytes(said).decode() == f"{ENGLISH}Well, again"


def test_a_prompt_that_is_echoed_is_left_out_the_next_time(vllm: VllmStandIn) -> None:
    def echo(request: Request, _said: str) -> str:
        prompt = bytes(request.prompt_tokens).decode()
        return ENGLISH + (CONTEXT if CONTEXT in prompt else "What was really said.")

    vllm.speak = speak(echo)

    (transcript,) = decode(request=TranscriptionRequest(context=CONTEXT))

    assert text_of(transcript) == "What was really said."
    assert len(transcript.warnings) == 1


@pytest.mark.parametrize("max_checks", [1, 2, 5, 20])
def test_a_stop_aborts_all_requests_before_the_next_step(vllm: VllmStandIn, max_checks: int) -> None:
    vllm.speak = speak(*(f"{ENGLISH}A rather long sentence, number {number}." for number in range(3)))
    vllm.delay = 4

    with pytest.raises(DecodingStopped):
        decode(3, listener=Listener(max_checks=max_checks))

    assert vllm.steps == max_checks  # one check before the first step, and one after each
    assert vllm.engine is not None
    assert vllm.engine.running == {}
    assert vllm.aborted == ["1", "2", "3"]


def test_a_window_is_cut_where_its_language_changes(vllm: VllmStandIn) -> None:
    vllm.speak = speak(f"{ENGLISH}Good day.", "language German<asr_text>Guten Tag.")
    both = np.concatenate([make_window(number).samples for number in range(2)])
    window = Window(0, (Span(0, len(both)),), both, len(both), pauses=(len(both) // 2,))
    engine = make_engine()
    engine.load(lambda _phase: None)

    (transcript,) = decode_windows(engine, [window], TranscriptionRequest(), Listener())

    assert [(segment.text, segment.language) for segment in transcript.segments] == [
        ("Good day.", "en"),
        ("Guten Tag.", "de"),
    ]


def test_languages_are_not_detected_when_that_is_turned_off(vllm: VllmStandIn) -> None:
    both = np.concatenate([make_window(number).samples for number in range(2)])
    window = Window(0, (Span(0, len(both)),), both, len(both), pauses=(len(both) // 2,))
    engine = Qwen3VllmEngine(WorkerSettings(model_id=str(TINY), language_changes=LanguageChanges.OFF))
    engine.load(lambda _phase: None)

    decode_windows(engine, [window], TranscriptionRequest(), Listener())

    assert len(vllm.requests) == 1


def test_word_timestamps_that_are_required_are_refused(vllm: VllmStandIn) -> None:
    with pytest.raises(WordsUnsupported, match="English"):
        decode(request=TranscriptionRequest(word_timestamps=WordTimestamps.REQUIRED))


def test_word_timestamps_that_are_welcome_are_left_out(vllm: VllmStandIn) -> None:
    (transcript,) = decode(request=TranscriptionRequest(word_timestamps=WordTimestamps.WELCOME))

    assert text_of(transcript) == "Hello there."
    assert not any(segment.words for segment in transcript.segments)


def test_a_temperature_is_handed_to_vllm(vllm: VllmStandIn) -> None:
    decode(request=TranscriptionRequest(temperature=0.3))

    assert [request.params.temperature for request in vllm.requests] == [0.3]


def test_a_finished_sequence_is_aborted_while_others_go_on(vllm: VllmStandIn) -> None:
    vllm.speak = speak(
        f"{ENGLISH}Well, " + "again " * 20, f"{ENGLISH}{'A long story. ' * 3}{'x y z ' * 4}End."
    )

    decode(2, rules=SequenceRules(max_new_tokens=140))

    assert "1" in vllm.aborted
    assert "2" not in vllm.aborted


def test_a_text_without_room_in_vllm_is_an_error_not_a_shorter_text(vllm: VllmStandIn) -> None:
    vllm.speak = speak(ENGLISH + "a b c d " * 2000)
    engine = make_engine()
    engine.load(lambda _phase: None)
    assert vllm.engine is not None
    vllm.engine._room = 60

    with pytest.raises(RuntimeError, match="no room"):
        decode_windows(engine, [make_window(0)], TranscriptionRequest(), Listener())


def test_vllm_gets_its_share_of_memory_and_starts_processes_afresh(vllm: VllmStandIn) -> None:
    phases: list[str] = []

    assert make_engine().load(phases.append) == "cuda:0"

    assert phases == ["importing libraries", "finding weights", "starting vLLM"]
    assert vllm.options["gpu_memory_utilization"] == 0.5
    assert vllm.options["limit_mm_per_prompt"] == {"audio": 1}
    most = count_window_tokens(30.0, SequenceRules(max_new_tokens=400))
    assert vllm.options["max_model_len"] >= most + WorkerSettings().max_context_bytes
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_compiled_kernels_are_kept_beside_the_weights_unless_a_setting_names_another_folder(
    vllm: VllmStandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/elsewhere")

    Qwen3VllmEngine(WorkerSettings(model_id=str(TINY), data_dir=tmp_path)).load(lambda _phase: None)

    assert os.environ["VLLM_CACHE_ROOT"] == str(tmp_path / "models" / "vllm")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "models" / "torchinductor")
    assert os.environ["TRITON_CACHE_DIR"] == "/elsewhere"
    assert vllm.options["model"]


@pytest.mark.parametrize(
    ("generation", "wanted", "dtype"),
    [(7, "auto", "float16"), (8, "auto", "bfloat16"), (12, "auto", "bfloat16"), (9, "float32", "float32")],
)
def test_vllm_need_not_look_for_the_format_of_numbers(
    vllm: VllmStandIn, generation: int, wanted: Literal["auto", "float32"], dtype: str
) -> None:
    vllm.generation = generation

    Qwen3VllmEngine(WorkerSettings(model_id=str(TINY), dtype=wanted)).load(lambda _phase: None)

    assert vllm.options["dtype"] == dtype


@pytest.mark.parametrize(
    ("generation", "compiler", "backend"),
    [
        (7, None, "TRITON_ATTN"),
        (7, "nvcc", None),
        (9, None, None),
        (10, None, "FLASH_ATTN"),
        (10, "nvcc", None),
        (12, None, None),
    ],
)
def test_an_attention_is_asked_for_only_where_vllm_would_need_a_compiler(
    vllm: VllmStandIn,
    monkeypatch: pytest.MonkeyPatch,
    generation: int,
    compiler: str | None,
    backend: str | None,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: compiler)
    vllm.generation = generation

    make_engine().load(lambda _phase: None)

    assert vllm.options.get("attention_config") == ({"backend": backend} if backend else None)


def test_no_attention_is_asked_for_that_cannot_compute_in_float32(
    vllm: VllmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    vllm.generation = 10

    Qwen3VllmEngine(WorkerSettings(model_id=str(TINY), dtype="float32")).load(lambda _phase: None)

    assert "attention_config" not in vllm.options


def test_there_is_room_for_the_tokens_of_all_repairs() -> None:
    rules = SequenceRules(max_new_tokens=100, truncation_repairs=2)

    assert count_window_tokens(10.0, rules) >= 130 + 100 + 200 + 400
    assert count_window_tokens(30.0, SequenceRules()) > count_window_tokens(5.0, SequenceRules())


@pytest.mark.parametrize("package", ["vllm", "qwen_asr"])
def test_a_missing_package_is_named_with_the_requirements(
    vllm: VllmStandIn, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ModelUnavailable, match=f"package {package}.*{REQUIREMENTS}"):
        make_engine().load(lambda _phase: None)

    assert (LOCKS_DIR.parent / REQUIREMENTS).is_file()


def test_another_vllm_than_qwens_package_fits_is_refused(vllm: VllmStandIn) -> None:
    vllm.architectures = {"LlamaForCausalLM"}

    with pytest.raises(ModelUnavailable, match=REQUIREMENTS):
        make_engine().load(lambda _phase: None)


def test_a_failed_start_names_the_requested_share_of_memory(vllm: VllmStandIn) -> None:
    vllm.start_error = RuntimeError("Engine core initialization failed.")

    with pytest.raises(ModelUnavailable, match=r"initialization failed.*50% of the GPU.*VLLM_GPU_MEMORY"):
        make_engine().load(lambda _phase: None)


def test_a_model_that_is_not_there_is_named(vllm: VllmStandIn) -> None:
    with pytest.raises(ModelUnavailable, match="MODEL_ID=/nowhere"):
        make_engine(model_id="/nowhere").load(lambda _phase: None)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:1"])
def test_a_device_that_vllm_is_not_run_on_is_refused(vllm: VllmStandIn, device: str) -> None:
    with pytest.raises(ModelUnavailable, match=f"DEVICE={device}"):
        make_engine(device=device).load(lambda _phase: None)


def test_an_error_not_of_the_device_fails_the_job(vllm: VllmStandIn) -> None:
    def refuse(_request: Request) -> list[int]:
        raise ValueError("The prompt is longer than the maximum model length")

    vllm.speak = refuse

    with pytest.raises(RuntimeError, match="maximum model length"):
        decode()


class Arrivals:
    """Rows that are ready after so many steps of vLLM, and the free rows at each call."""

    def __init__(self, vllm: VllmStandIn, *arrivals: tuple[int, Row]) -> None:
        self.free_rows: list[int] = []
        self._vllm = vllm
        self._arrivals = list(arrivals)

    def __call__(self, free_rows: int) -> list[Row]:
        self.free_rows.append(free_rows)
        ready = [row for step, row in self._arrivals if step <= self._vllm.steps][:free_rows]
        self._arrivals = [(step, row) for step, row in self._arrivals if not any(row is one for one in ready)]
        return ready


def decode_joining(rows: list[Row], arrivals: Arrivals, *, batch_windows: int = 4) -> list[tuple[int, str]]:
    """Return the windows and texts in the order in which they are done."""
    engine = Qwen3VllmEngine(
        WorkerSettings(model_id=str(TINY), batch_windows=batch_windows),
        rules=SequenceRules(max_new_tokens=400),
    )
    engine.load(lambda _phase: None)
    done = engine.decode_rows(rows, arrivals)
    return [(row.window.index, text_of(open_outcome(outcome))) for row, outcome in done]


def make_row(number: int, listener: Listener | None = None) -> Row:
    return Row(make_window(number), TranscriptionRequest(), listener or Listener())


STORY = "The tide is out, the boats lie on the sand, and nobody knows when the ferry will come again."


def test_a_row_joins_those_in_decoding_and_is_done_before_them(vllm: VllmStandIn) -> None:
    vllm.speak = speak(ENGLISH + STORY, f"{ENGLISH}Yes.")
    arrivals = Arrivals(vllm, (20, make_row(1)))

    assert decode_joining([make_row(0)], arrivals) == [(1, "Yes."), (0, STORY)]
    assert vllm.steps < len(ENGLISH + STORY) + len(ENGLISH + "Yes.")
    assert set(arrivals.free_rows) == {3, 2, 4}


def test_a_row_that_comes_with_the_last_token_is_decoded_in_the_same_batch(vllm: VllmStandIn) -> None:
    vllm.speak = speak(f"{ENGLISH}No.", f"{ENGLISH}Yes.")
    arrivals = Arrivals(vllm, (len(f"{ENGLISH}No.") + 1, make_row(1)))

    assert decode_joining([make_row(0)], arrivals) == [(0, "No."), (1, "Yes.")]


def test_running_rows_get_tokens_between_the_preparations_of_joining_ones(
    vllm: VllmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_model, "PREPARE_S", 0.0)
    prepared_at: list[int] = []

    def prepare(request: Request) -> list[int]:
        prepared_at.append(vllm.steps)
        return [*f"{ENGLISH}{STORY}".encode(), END]

    vllm.speak = prepare
    arrivals = Arrivals(vllm, *((20, make_row(number)) for number in range(1, 9)))

    texts = decode_joining([make_row(0)], arrivals, batch_windows=16)

    assert texts == [(number, STORY) for number in range(9)]
    assert prepared_at == [0, *range(20, 28)]


def test_a_stop_while_rows_are_prepared_ends_them_before_all_are(
    vllm: VllmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_model, "PREPARE_S", 0.0)
    vllm.speak = speak(*[f"{ENGLISH}{STORY}"] * 8)

    with pytest.raises(DecodingStopped):
        decode(8, listener=Listener(max_checks=3))

    assert len(vllm.requests) == 3


def test_later_windows_of_a_job_join_in_order_with_its_partials(vllm: VllmStandIn) -> None:
    vllm.speak = speak(ENGLISH + STORY, "language German<asr_text>Ja.", "language None<asr_text>Hm.")
    listener = Listener()
    arrivals = Arrivals(vllm, (10, make_row(1, listener)), (12, make_row(2, listener)))

    assert decode_joining([make_row(0, listener)], arrivals) == [(0, STORY), (1, "Ja."), (2, "Hm.")]
    assert listener.texts == {0: STORY, 1: "Ja.", 2: "Hm."}


def test_languages_of_a_row_that_joins_are_detected_while_others_go_on(vllm: VllmStandIn) -> None:
    vllm.speak = speak(ENGLISH + STORY, f"{ENGLISH}Good day.", "language German<asr_text>Guten Tag.")
    both = np.concatenate([make_window(number).samples for number in (1, 2)])
    window = Window(7, (Span(0, len(both)),), both, len(both), pauses=(len(both) // 2,))
    mixed = Row(window, TranscriptionRequest(), Listener())
    story = make_row(0)
    partials: list[int] = []

    def take_more(free_rows: int) -> list[Row]:
        assert isinstance(story.listener, Listener)
        partials.append(story.listener.partials)
        return arrivals(free_rows)

    arrivals = Arrivals(vllm, (20, mixed))
    engine = make_engine()
    engine.load(lambda _phase: None)

    found = {
        row.window.index: open_outcome(outcome) for row, outcome in engine.decode_rows([story], take_more)
    }

    assert [(one.text, one.language) for one in found[7].segments] == [
        ("Good day.", "en"),
        ("Guten Tag.", "de"),
    ]
    assert text_of(found[0]) == STORY
    detected_from = next(place for place, free in enumerate(arrivals.free_rows) if free < 63)
    assert partials[detected_from] - partials[detected_from - 1] > 1  # it went on meanwhile


def test_a_prompt_that_vllm_refuses_fails_its_job_alone(vllm: VllmStandIn) -> None:
    def refuse_second(request: Request) -> list[int]:
        if request.audio[0] == 1:
            raise ValueError("The prompt is longer than the maximum model length")
        return [*(ENGLISH + STORY).encode(), END]

    vllm.speak = refuse_second
    engine = make_engine()
    engine.load(lambda _phase: None)
    arrivals = Arrivals(vllm, (20, make_row(1)))

    outcomes = {row.window.index: outcome for row, outcome in engine.decode_rows([make_row(0)], arrivals)}

    assert isinstance(outcomes[1], RowFailure)
    assert text_of(open_outcome(outcomes[0])) == STORY
    assert len(vllm.requests) == 1  # it was not disturbed


def test_vllm_has_room_for_the_requests_of_all_rows(vllm: VllmStandIn) -> None:
    engine = make_engine()
    engine.load(lambda _phase: None)

    assert engine.joins_rows
    assert vllm.options["max_num_seqs"] >= 2 * engine.batch_windows
